// What a member learns of a cluster before it takes part in it.
import { logger } from "../../platform/log.ts";
import { connect, createClient } from "../../rpc/client.ts";
import { type DescribeResponse, Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import { RpcError, type TlsClientOptions } from "../../rpc/types.ts";
import { BootstrapError, type InitialCluster, matchMembers } from "../membership/bootstrap.ts";
import type { ClusterMember } from "../membership/members.ts";
import type { Identity } from "../wal/format.ts";
import { addressOf } from "./url.ts";

/** Milliseconds that a member has to answer. */
const TIMEOUT = 2000;

async function describe(url: string, tls: TlsClientOptions | undefined): Promise<DescribeResponse | RpcError> {
  using channel = connect(addressOf(url), { tls: url.startsWith("https:") ? (tls ?? {}) : undefined, connectTimeout: TIMEOUT });
  try {
    return await createClient(Peer, channel).describe({}, { timeout: TIMEOUT });
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
}

/** The answers of the others, of all that give one; `silent` is told of those that give none. */
async function ask(
  name: string,
  cluster: InitialCluster,
  tls: TlsClientOptions | undefined,
  silent: (url: string, error: RpcError) => void = () => {},
): Promise<DescribeResponse[]> {
  const urls = [...cluster].filter(([other]) => other !== name).flatMap(([, urls]) => urls);
  const answers = await Promise.all(urls.map((url) => describe(url, tls)));
  return answers.filter((answer, i): answer is DescribeResponse => {
    if (!(answer instanceof RpcError)) return true;
    silent(urls[i]!, answer);
    return false;
  });
}

export interface Joined {
  readonly identity: Identity;
  /** Whom it can answer before the log tells it. */
  readonly members: readonly ClusterMember[];
}

/**
 * The ids of a member that has been added to a running cluster.
 *
 * @throws BootstrapError in etcd's words
 */
export async function joinCluster(name: string, cluster: InitialCluster, tls: TlsClientOptions | undefined): Promise<Joined> {
  const answers = await ask(name, cluster, tls, (url, error) => {
    logger("etcd").warn("A member of the cluster to join gives no answer", { url, error: error.message });
  });
  // The one that has seen most knows of the newest member.
  const best = answers.sort((a, b) => Number(b.index - a.index)).find((d) => d.members.length > 0);
  if (!best) {
    throw new BootstrapError("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs");
  }
  const { clusterId, members } = best;
  return { identity: { clusterId, memberId: matchMembers(name, cluster, members) }, members };
}

/**
 * Refuses to begin a new cluster anew in place of a member that has taken part in it before.
 *
 * @throws BootstrapError in etcd's words
 */
export async function checkNotBootstrapped(
  name: string,
  memberId: bigint,
  cluster: InitialCluster,
  tls: TlsClientOptions | undefined,
): Promise<void> {
  for (const { members } of await ask(name, cluster, tls)) {
    const known = members.find((m) => m.id === memberId);
    if (known && known.clientUrls.length > 0) {
      throw new BootstrapError(`member ${memberId.toString(16)} has already been bootstrapped`);
    }
  }
}
