// What the members of a new cluster agree on from their flags alone, and what
// is wrong with flags that can't be (etcd's server/embed/config.go and
// server/config/config.go).
import { NOBODY } from "../raft/configuration.ts";
import { clusterIdOf, memberIdOf } from "./id.ts";
import type { ClusterMember, MembershipState } from "./members.ts";

/** A mistake in what the member was told about its cluster. */
export class BootstrapError extends Error {
  override name = "BootstrapError";
}

/** Peer URLs by member name. */
export type InitialCluster = ReadonlyMap<string, readonly string[]>;

/** Reads NAME=URL,NAME=URL,…; a name with several URLs stands several times. Throws BootstrapError. */
export function parseInitialCluster(text: string): InitialCluster {
  const cluster = new Map<string, string[]>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const url = part.slice(at + 1);
    if (at < 0 || !URL.canParse(url)) throw new BootstrapError(`bad initial cluster ${JSON.stringify(part)}: must be NAME=URL`);
    const urls = cluster.get(part.slice(0, at));
    if (urls) urls.push(url);
    else cluster.set(part.slice(0, at), [url]);
  }
  return cluster;
}

/** Without what a URL may be written in several ways. */
const normal = (url: string) => new URL(url).href.replace(/\/$/, "");

/** @throws BootstrapError in etcd's words */
export function checkInitialCluster(name: string, advertised: readonly string[], cluster: InitialCluster): void {
  const text = [...cluster].flatMap(([n, urls]) => urls.map((u) => `${n}=${u}`)).join(",");
  const own = cluster.get(name);
  if (!own) throw new BootstrapError(`couldn't find local name ${JSON.stringify(name)} in the initial cluster configuration`);
  const all = [...cluster.values()].flat().map(normal);
  if (new Set(all).size < all.length) throw new BootstrapError(`initial cluster ${text} has duplicate url`);
  const missing = own.filter((u) => !advertised.some((a) => normal(a) === normal(u)));
  if (missing.length > 0) {
    const named = missing.map((u) => `${name}=${u}`).join(",");
    throw new BootstrapError(`--initial-cluster has ${named} but missing from --initial-advertise-peer-urls=${advertised.join(",")}`);
  }
  const extra = advertised.filter((a) => !own.some((u) => normal(u) === normal(a)));
  if (extra.length > 0)
    throw new BootstrapError(`--initial-advertise-peer-urls has ${extra.join(",")} but missing from --initial-cluster=${text}`);
}

/** The longest election timeout, in milliseconds. */
const MAX_ELECTION = 50_000;

/** @throws BootstrapError in etcd's words */
export function checkTimeouts(heartbeat: number, election: number): void {
  if (heartbeat <= 0) throw new BootstrapError(`--heartbeat-interval must be >0 (set to ${heartbeat}ms)`);
  if (election <= 0) throw new BootstrapError(`--election-timeout must be >0 (set to ${election}ms)`);
  if (5 * heartbeat > election)
    throw new BootstrapError(`--election-timeout[${election}ms] should be at least as 5 times as --heartbeat-interval[${heartbeat}ms]`);
  if (election > MAX_ELECTION)
    throw new BootstrapError(`--election-timeout[${election}ms] is too long, and should be set less than ${MAX_ELECTION}ms`);
}

export interface NewCluster {
  clusterId: bigint;
  memberId: bigint;
  membership: MembershipState;
}

/** What every member of a new cluster begins with. */
export function newCluster(name: string, cluster: InitialCluster, token: string): NewCluster {
  const members = [...cluster].map(
    ([name, peerUrls]): ClusterMember => ({ id: memberIdOf(peerUrls, token), name, peerUrls, clientUrls: [] }),
  );
  members.sort((a, b) => (a.id < b.id ? -1 : 1));
  const voters = members.map((m) => m.id);
  return {
    clusterId: clusterIdOf(voters),
    memberId: memberIdOf(cluster.get(name)!, token),
    membership: { members, removed: [], configuration: { ...NOBODY, voters }, version: undefined },
  };
}

/**
 * Which member of an existing cluster one with these flags is: its ids are
 * the cluster's, matched by peer URLs.
 *
 * @throws BootstrapError in etcd's words
 */
export function matchMembers(name: string, cluster: InitialCluster, members: readonly ClusterMember[]): bigint {
  const key = (urls: readonly string[]) => urls.map(normal).sort().join();
  const fail = (why: string) => new BootstrapError(`error validating peerURLs ${describe(cluster)}: ${why}`);
  if (members.length !== cluster.size) throw fail("member count is unequal");
  for (const [, urls] of cluster) {
    if (!members.some((m) => key(m.peerUrls) === key(urls))) {
      throw fail(`unmatched member while checking PeerURLs (no member of the cluster has ${urls.join(",")})`);
    }
  }
  return members.find((m) => key(m.peerUrls) === key(cluster.get(name)!))!.id;
}

const describe = (cluster: InitialCluster) => [...cluster].map(([name, urls]) => `${name}=${urls.join(`,${name}=`)}`).join(",");
