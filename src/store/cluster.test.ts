// Several members: writes and reads through any of them, leaders that go and
// come back, and members that are added, promoted, updated and removed.
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import type { StoreClient } from "../client/etcd.ts";
import { connect, createClient } from "../rpc/client.ts";
import { Cluster, KV, Maintenance, Watch } from "../rpc/gen/etcd/rpc_pb.ts";
import { Peer } from "../rpc/gen/kubun/store/member_pb.ts";
import type { CallOptions } from "../rpc/types.ts";
import { testPki } from "../testing/certificates.ts";
import { Collector } from "../testing/store-contract.ts";
import type { Store } from "./mod.ts";
import { identityHeaders } from "./peer/identity.ts";
import { Members, until } from "./testing/members.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const put = (client: StoreClient, key: string, value: string, lease?: bigint) =>
  client.txn([], [{ type: "put", key: bytes(key), value: bytes(value), lease }]);
const get = async (client: StoreClient, key: string) => {
  const { kvs } = await client.range(bytes(key));
  return kvs[0] && text(kvs[0].value);
};
const failure = async (promise: Promise<unknown>) =>
  (await promise.then(
    () => undefined,
    (e: unknown) => e,
  )) as Error;

/** The services of one member over its client port. */
function api(store: Store) {
  const { hostname, port } = new URL(store.address!);
  const channel = connect({ host: hostname, port: Number(port) });
  return {
    cluster: createClient(Cluster, channel),
    maintenance: createClient(Maintenance, channel),
    [Symbol.dispose]: () => channel.close(),
  };
}

test("a write through any member is read from any other, and survives the leader and every restart", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  const leader = await members.leader();
  const ids = [...members.stores.values()].map((s) => s.member.identity.clusterId);
  expect(new Set(ids).size).toBe(1);
  for (const [i, store] of [...members.stores.values()].entries()) {
    await put(store.client(), "k", String(i));
    for (const other of members.stores.values()) expect(await get(other.client(), "k")).toBe(String(i));
  }
  const gone = [...members.stores].find(([, s]) => s === leader)![0];
  await members.stop(gone);
  const next = await members.leader();
  expect(next).not.toBe(leader);
  await put(next.client(), "without", gone);
  const back = await members.start(gone);
  expect(await get(back.client(), "without")).toBe(gone);
  for (const name of ["a", "b", "c"]) await members.stop(name);
  await Promise.all(["a", "b", "c"].map((name) => members.start(name)));
  await members.leader();
  for (const store of members.stores.values()) expect(await get(store.client(), "without")).toBe(gone);
}, 30_000);

test("without a majority nothing is acknowledged, reads of the own state go on, and a watch goes on where it was", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  const follower = await members.follower();
  const seen = new Collector();
  follower.client().watch(bytes("k"), {}, seen);
  await put(follower.client(), "k", "1");
  await seen.until((s) => s.seen.length === 1);
  const others = [...members.stores].filter(([, s]) => s !== follower).map(([name]) => name);
  for (const name of others) await members.stop(name);
  await until("no leader", () => follower.member.consensus.leader === 0n);
  const written = put(follower.client(), "k", "2");
  expect((await follower.client().range(bytes("k"), { serializable: true })).kvs).toHaveLength(1);
  await members.start(others[0]!);
  // It waited for a leader.
  await written;
  await seen.until((s) => s.seen.length === 2);
  expect(seen.lines()).toEqual(["put k=1", "put k=2"]);
}, 30_000);

test("a member joins as a learner that answers nothing but its own state, is promoted, renamed, and removed", async () => {
  await using members = await Members.start(["a", "b", "c"], { snapshotCount: 50 });
  const leader = await members.leader();
  for (let i = 0; i < 200; i++) await put(leader.client(), `k${i % 20}`, String(i));
  await leader.member.snapshot();
  // The 200 writes took only one of the others.
  await until("all to be within reach", () => leader.member.transport.connected.length === 2);
  const follower = await members.follower();
  using f = api(follower);
  const url = members.peerUrl("d");
  const { member } = await f.cluster.memberAdd({ peerURLs: [url], isLearner: true });
  expect(member).toMatchObject({ name: "", peerURLs: [url], isLearner: true });
  const taken = failure(f.cluster.memberAdd({ peerURLs: [members.peerUrl("a")] }));
  expect((await taken).message).toBe("etcdserver: Peer URLs already exists");
  const more = f.cluster.memberAdd({ peerURLs: ["http://127.0.0.1:1"], isLearner: true });
  expect((await failure(more)).message).toBe("etcdserver: too many learner members in cluster");
  const early = await failure(f.cluster.memberPromote({ ID: member!.ID }));
  expect(early.message).toBe("etcdserver: can only promote a learner member which is in sync with leader");

  const joined = await members.start("d", { initialClusterState: "existing" });
  expect(joined.member.identity).toEqual({ clusterId: leader.member.identity.clusterId, memberId: member!.ID });
  await until("the learner has it all", () => joined.member.isLearner && joined.member.state.index === leader.member.state.index);
  using d = api(joined);
  expect((await d.maintenance.status({})).isLearner).toBe(true);
  expect((await failure(d.cluster.memberList({}))).message).toBe("etcdserver: rpc not supported for learner");
  await until("promoted", async () => (await failure(f.cluster.memberPromote({ ID: member!.ID }))) === undefined);
  expect((await failure(f.cluster.memberPromote({ ID: member!.ID }))).message).toBe("etcdserver: can only promote a learner member");
  await put(joined.client(), "from-d", "1");
  expect(await get(follower.client(), "from-d")).toBe("1");
  const list = await until("it has said its name", async () => {
    const { members: all } = await f.cluster.memberList({ linearizable: true });
    return all.some((m) => m.name === "d" && m.clientURLs.length > 0) && all;
  });
  expect(list.map((m) => m.name).sort()).toEqual(["a", "b", "c", "d"]);

  expect((await failure(f.cluster.memberUpdate({ ID: 5n, peerURLs: ["http://127.0.0.1:1"] }))).message).toBe(
    "etcdserver: member not found",
  );
  await f.cluster.memberUpdate({ ID: member!.ID, peerURLs: [url.replace("127.0.0.1", "localhost")] });
  await until("it is told", () => joined.member.state.membership.get(member!.ID)?.peerUrls[0] === url.replace("127.0.0.1", "localhost"));
  await f.cluster.memberRemove({ ID: member!.ID });
  await until("the removed one has stopped", () => !joined.member.running);
  expect((await failure(f.cluster.memberRemove({ ID: member!.ID }))).message).toBe("etcdserver: member not found");
  members.stores.delete("d");
  await put(follower.client(), "after", "d");
  expect((await failure(members.start("d"))).message).toContain("permanently removed");
  members.stores.delete("d");
}, 30_000);

test("members talk over TLS, and take nobody without a certificate of theirs", async () => {
  const pki = await testPki();
  const { cert, key } = await pki.issue("peer");
  const peer = { listen: [], tls: { cert, key, clientCa: pki.ca, requireClientCert: true }, clientTls: { cert, key, ca: pki.ca } };
  await using members = await Members.start(["a", "b", "c"], { peer });
  const follower = await members.follower();
  await put(follower.client(), "k", "1");
  expect(await get((await members.leader()).client(), "k")).toBe("1");
  using channel = connect({ host: "127.0.0.1", port: Number(new URL(members.peerUrl("a")).port) }, { tls: { ca: pki.ca } });
  expect((await failure(createClient(Peer, channel).describe({}, { timeout: 5000 }))).message).toMatch(/./);
}, 30_000);

test("a member of another cluster, or with another id, is not listened to; nor can a member begin anew", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  await members.leader();
  const [a, b] = [members.get("a").member.identity, members.get("b").member.identity];
  using channel = connect({ host: "127.0.0.1", port: Number(new URL(members.peerUrl("a")).port) });
  const peer = createClient(Peer, channel);
  const as = (cluster: bigint, to: bigint) =>
    failure(peer.renewLease({ id: 1n }, { headers: identityHeaders({ clusterId: cluster, memberId: b.memberId }, to) }));
  expect((await as(1n, a.memberId)).message).toContain("cluster ID mismatch");
  expect((await as(a.clusterId, 1n)).message).toContain("member ID mismatch");
  await until("b is known", () => members.get("a").member.state.membership.get(b.memberId)?.clientUrls.length);
  await members.stop("b");
  rmSync(members.dataDir("b"), { recursive: true });
  expect((await failure(members.start("b"))).message).toBe(`member ${b.memberId.toString(16)} has already been bootstrapped`);
  members.stores.delete("b");
}, 30_000);

test("a member with other data than the rest is found out: by an alarm that all show, and when it starts", async () => {
  await using members = await Members.start(["a", "b", "c"], { corruptCheckTime: 50 });
  const leader = await members.leader();
  await put(leader.client(), "k", "1");
  const [name, broken] = [...members.stores].find(([, s]) => s !== leader)!;
  await until("it has it", () => broken.member.state.mvcc.revision === 2);
  // As if its disk had lied.
  const id = broken.member.identity.memberId;
  broken.member.state.mvcc.write(() => broken.member.state.mvcc.put(bytes("k"), bytes("?"), 0n));
  await put(leader.client(), "k", "2");
  await until("the alarm", () =>
    [...members.stores.values()].every((s) => s.member.alarms.some((a) => a.memberId === id && a.kind === "corrupt")),
  );
  expect((await failure(put(leader.client(), "k", "3"))).message).toBe("etcdserver: corrupt cluster");
  using l = api(leader);
  expect((await l.maintenance.status({})).errors).toEqual([`memberID:${id} alarm:CORRUPT `]);
  await broken.member.snapshot();
  await members.stop(name);
  const again = members.start(name, { initialCorruptCheck: true });
  expect((await failure(again)).message).toBe(`${id.toString(16)} found data inconsistency with peers`);
  members.stores.delete(name);
}, 30_000);

test("the cluster agrees on its version, and every member says it", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  for (const store of members.stores.values()) {
    await until("a version", () => store.member.state.membership.version === "3.6.0");
  }
}, 30_000);

test("whoever wants a leader is refused without one, and its watch ends", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  const follower = await members.follower();
  const { hostname, port } = new URL(follower.address!);
  using channel = connect({ host: hostname, port: Number(port) });
  const kv = createClient(KV, channel);
  const headers = { hasleader: "true" };
  const watch = createClient(Watch, channel).watch(
    (async function* () {
      yield { requestUnion: { case: "createRequest" as const, value: { key: bytes("k") } } };
      await new Promise(() => {});
    })(),
    { headers },
  );
  const answers = watch[Symbol.asyncIterator]();
  expect((await answers.next()).value.created).toBe(true);
  for (const [name, store] of members.stores) if (store !== follower) await members.stop(name);
  await until("no leader", () => follower.member.consensus.leader === 0n);
  const range = (options?: CallOptions) => kv.range({ key: bytes("k"), serializable: true }, options);
  expect((await failure(range({ headers }))).message).toBe("etcdserver: no leader");
  expect((await range()).count).toBe(0n);
  expect((await failure(answers.next())).message).toBe("etcdserver: no leader");
  expect((await failure(kv.put({ key: bytes("k") }, { timeout: 20_000 }))).message).toMatch(/^etcdserver: request timed out/);
}, 40_000);

test("leadership moves to whom it is asked to, and only the leader moves it", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  const leader = await members.leader();
  const follower = await members.follower();
  using l = api(leader);
  using f = api(follower);
  const targetID = follower.member.identity.memberId;
  expect((await failure(f.maintenance.moveLeader({ targetID }))).message).toBe("etcdserver: not leader");
  expect((await failure(l.maintenance.moveLeader({ targetID: 77n }))).message).toBe("etcdserver: bad leader transferee");
  await l.maintenance.moveLeader({ targetID });
  expect(await members.leader()).toBe(follower);
  const { index } = follower.member.state;
  const status = await until("both have applied as much", async () => {
    const status = await l.maintenance.status({});
    return Number(status.raftAppliedIndex) >= index && status;
  });
  expect([status.leader, status.errors, status.raftTerm]).toEqual([targetID, [], BigInt(follower.member.consensus.term)]);
}, 30_000);

test("a lease is kept alive through any member, outlives its leader, and expires once nobody renews it", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  const follower = await members.follower();
  const { id } = await follower.client().leaseGrant(5);
  await put(follower.client(), "leased", "1", id);
  expect(await follower.client().leaseKeepAlive(id)).toEqual({ ttl: 5 });
  const leader = await members.leader();
  await members.stop([...members.stores].find(([, s]) => s === leader)![0]);
  await members.leader();
  expect(await follower.client().leaseKeepAlive(id)).toEqual({ ttl: 5 });
  const { ttl, grantedTtl, keys } = await follower.member.keeper.timeToLive(id);
  expect([ttl > 0, grantedTtl, keys.map(text)]).toEqual([true, 5, ["leased"]]);
  await until("the lease has expired", async () => (await get(follower.client(), "leased")) === undefined);
  expect((await failure(follower.client().leaseKeepAlive(id))).message).toBe("etcdserver: requested lease not found");
}, 30_000);

test("a member that was away for long gets a snapshot, and its watches miss nothing", async () => {
  await using members = await Members.start(["a", "b", "c"], { snapshotCount: 20 });
  await members.leader();
  const first = await put(members.get("a").client(), "k", "0");
  await members.stop("c");
  const client = (await members.leader()).client();
  const value = "x".repeat(20_000);
  for (let i = 1; i <= 9000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, j) => put(client, `k${j}`, i === 8901 ? value : String(i + j))));
  }
  const store = await members.start("c");
  const seen = new Collector();
  store.client().watch(bytes("k7"), { startRevision: first.revision }, seen);
  await until("all of it", () => store.member.state.mvcc.revision >= 9000);
  expect(store.member.snapshots.newest!.meta.index).toBeGreaterThan(1000);
  await seen.until((s) => s.seen.length === 90);
  expect(new Set(seen.seen.map((e) => e.kv.modRevision)).size).toBe(90);
}, 40_000);

test("one member goes on alone with what it has, if it is told to", async () => {
  await using members = await Members.start(["a", "b", "c"]);
  await members.leader();
  await put(members.get("a").client(), "k", "kept");
  await until("a has it", () => members.get("a").member.state.mvcc.revision === 2);
  for (const name of ["a", "b", "c"]) await members.stop(name);
  const alone = await members.start("a", { forceNewCluster: true });
  expect(await get(alone.client(), "k")).toBe("kept");
  await put(alone.client(), "k", "again");
  await members.stop("a");
  const again = await members.start("a");
  expect(await get(again.client(), "k")).toBe("again");
  using a = api(again);
  expect((await a.cluster.memberList({})).members).toHaveLength(1);
}, 30_000);
