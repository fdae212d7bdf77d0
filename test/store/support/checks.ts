// What must hold once the harm is over.
import { parseEndpoint } from "../../../src/client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../../src/rpc/client.ts";
import { KV, Maintenance, type StatusResponse } from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { assertLinearizable } from "../../../src/store/testing/linearizability.ts";
import { assertNone, checkRevisions, checkWatch } from "../../../src/store/testing/revisions.ts";
import type { Member, StoreCluster } from "./cluster.ts";
import { until } from "./commands.ts";
import { type Compaction, listing } from "./compaction.ts";
import { type Load, PREFIX } from "./load.ts";
import { bytes, Watcher } from "./watcher.ts";

/** One call on a connection of its own. */
export async function ask<T>(endpoint: string, call: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = connect(parseEndpoint(endpoint).address, { connectTimeout: 1000, maxReceiveSize: 2 ** 31 - 1 });
  try {
    return await call(channel);
  } finally {
    channel.close();
  }
}

export const statusOf = (m: Member): Promise<StatusResponse> =>
  ask(m.endpoint, (channel) => createClient(Maintenance, channel).status({}, { timeout: 1000 }));

/** How many watches there are at a member, also for those who wait for a lock there. */
export async function watchersAt(endpoint: string): Promise<number> {
  const metrics = await (await fetch(`http://${endpoint}/metrics`)).text();
  return Number(/^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(metrics)?.[1]);
}

/** Resolves when the member answers linearizable reads: it knows a leader that has a majority. */
export async function serving(m: Member, milliseconds = 30_000): Promise<void> {
  await until(
    `${m.name} to serve`,
    () => {
      if (!m.running) throw new Error("it has ended");
      return ask(m.endpoint, (channel) => createClient(KV, channel).range({ key: bytes("x") }, { timeout: 1000 }));
    },
    milliseconds,
    () => m.cluster.logs(),
  );
}

export const allServing = (cluster: StoreCluster) => Promise.all(cluster.members.map((m) => serving(m)));

/** The one of these that thinks it leads, if any; of two, the one of the later term does. */
export async function leadingNow(among: readonly Member[]): Promise<Member | undefined> {
  const asked = among
    .filter((m) => m.running)
    .map((m) =>
      statusOf(m).then(
        (status) => ({ m, status }),
        () => undefined,
      ),
    );
  const leading = (await Promise.all(asked)).filter(
    (s) => s !== undefined && s.status.leader !== 0n && s.status.leader === s.status.header!.memberId,
  );
  leading.sort((a, b) => Number(b!.status.raftTerm - a!.status.raftTerm));
  return leading[0]?.m;
}

/** Resolves with the one of these, or of all members, that leads. */
export const leaderOf = (cluster: StoreCluster, among: readonly Member[] = cluster.members): Promise<Member> =>
  until(
    "a leader",
    () => leadingNow(among),
    30_000,
    () => cluster.logs(),
  );

/**
 * Stops the load, and throws an Error unless all members serve the same history,
 * all that clients were told fits it, and every watcher saw it.
 *
 * @param compaction what made parts of the history known to its recorders alone
 */
export async function judge(cluster: StoreCluster, load: Load, watchers: readonly Watcher[], compaction?: Compaction): Promise<void> {
  await load.stop();
  await compaction?.stop();
  await allServing(cluster);
  const leader = await leaderOf(cluster);
  // A last write, so that every watch of the prefix has an end to reach.
  const call = load.now();
  const end = await ask(leader.endpoint, (channel) =>
    createClient(KV, channel).put({ key: bytes(`${PREFIX}end`), value: bytes("end") }, { timeout: 5000 }),
  );
  const ended = { client: -1, call, return: load.now(), changes: [{ key: `${PREFIX}end`, value: "end" }] };
  const last = Number(end.header!.revision);
  // What a member still knows of the past, it shows whole.
  const compacted = compaction && (async (_endpoint: string, revision: number) => revision);
  const views = cluster.members.map((m) => new Watcher([m.endpoint], PREFIX, { compacted }));
  const told = [...watchers, ...(compaction?.recorders ?? [])];
  try {
    await Promise.all([...views, ...told].map((w) => w.reached(last)));
  } finally {
    await Promise.all([...views, ...told].map((w) => w.stop()));
  }
  const history = compaction ? compaction.history(last) : views[0]!.changes;
  if (compaction) {
    for (const m of cluster.members) await listing(load)(m.endpoint);
    assertNone("what was told of compacted revisions", compaction.violations(history, last));
  }
  const seen = (what: string, w: Watcher) => {
    for (const span of w.spans(last)) assertNone(what, checkWatch(history, span));
  };
  for (const [i, view] of views.entries()) seen(`the history of ${cluster.members[i]!.name}`, view);
  for (const [i, w] of watchers.entries()) seen(`watch ${i} of ${w.streams} streams`, w);
  const writes = [...load.writes, { ...ended, revision: last }];
  assertNone("what clients were told", checkRevisions(history, writes, load.reads));
  assertLinearizable(load.operations);
  const agreed = await sameHashes(cluster, last);
  if (!compaction) return;
  for (const [i, { compactions }] of views.entries())
    if (compactions.length !== 1 || compactions[0]!.told !== agreed)
      throw new Error(`${cluster.members[i]!.name} is compacted at ${agreed}, and told a watch from 1: ${JSON.stringify(compactions)}`);
}

/** Throws an Error unless the members have the same data at a revision; tells the revision that all are compacted at, 0 for none. */
export async function sameHashes(cluster: StoreCluster, revision: number): Promise<number> {
  const hashOf = (m: Member) =>
    ask(m.endpoint, (channel) => createClient(Maintenance, channel).hashKV({ revision: BigInt(revision) }, { timeout: 5000 }));
  // A compaction that its client gave up on may still reach one member after the other.
  const hashes = await until("all members to be compacted at one revision", async () => {
    const hashes = await Promise.all(cluster.members.map(hashOf));
    return hashes.every((h) => h.compactRevision === hashes[0]!.compactRevision) && hashes;
  });
  const told = hashes.map((h, i) => `${cluster.members[i]!.name} ${h.hash} (compacted ${h.compactRevision})`);
  if (new Set(hashes.map((h) => h.hash)).size > 1) throw new Error(`members differ at revision ${revision}: ${told.join(", ")}`);
  return Math.max(0, Number(hashes[0]!.compactRevision));
}
