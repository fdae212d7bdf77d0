// What must hold once the harm is over.
import { parseEndpoint } from "../../../src/client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../../src/rpc/client.ts";
import { KV, Maintenance, type StatusResponse } from "../../../src/rpc/gen/etcd/rpc_pb.ts";
import { assertLinearizable } from "../../../src/store/testing/linearizability.ts";
import { assertNone, checkRevisions, checkWatch } from "../../../src/store/testing/revisions.ts";
import type { Member, StoreCluster } from "./cluster.ts";
import { until } from "./commands.ts";
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
 */
export async function judge(cluster: StoreCluster, load: Load, watchers: readonly Watcher[]): Promise<void> {
  await load.stop();
  await allServing(cluster);
  const leader = await leaderOf(cluster);
  // A last write, so that every watch of the prefix has an end to reach.
  const end = await ask(leader.endpoint, (channel) =>
    createClient(KV, channel).put({ key: bytes(`${PREFIX}end`), value: bytes("end") }, { timeout: 5000 }),
  );
  const last = Number(end.header!.revision);
  const views = cluster.members.map((m) => new Watcher([m.endpoint], PREFIX));
  try {
    await Promise.all([...views, ...watchers].map((w) => w.reached(last)));
  } finally {
    await Promise.all([...views, ...watchers].map((w) => w.stop()));
  }
  const history = views[0]!.changes;
  for (const [i, view] of views.entries()) assertNone(`the history of ${cluster.members[i]!.name}`, checkWatch(history, view.span(last)));
  for (const [i, w] of watchers.entries()) assertNone(`watch ${i} of ${w.streams} streams`, checkWatch(history, w.span(last)));
  const writes = [
    ...load.writes,
    {
      client: -1,
      call: Number.MAX_SAFE_INTEGER,
      return: Number.MAX_SAFE_INTEGER,
      changes: [{ key: `${PREFIX}end`, value: "end" }],
      revision: last,
    },
  ];
  assertNone("what clients were told", checkRevisions(history, writes, load.reads));
  assertLinearizable(load.operations);
  await sameHashes(cluster, last);
}

/** Throws an Error unless the members have the same data at a revision. */
export async function sameHashes(cluster: StoreCluster, revision: number): Promise<void> {
  const hashes = await Promise.all(
    cluster.members.map((m) =>
      ask(m.endpoint, (channel) => createClient(Maintenance, channel).hashKV({ revision: BigInt(revision) }, { timeout: 5000 })),
    ),
  );
  const told = hashes.map((h, i) => `${cluster.members[i]!.name} ${h.hash} (compacted ${h.compactRevision})`);
  if (new Set(hashes.map((h) => `${h.hash} ${h.compactRevision}`)).size > 1)
    throw new Error(`members differ at revision ${revision}: ${told.join(", ")}`);
}
