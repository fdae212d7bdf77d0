// What each method asks of its client while auth is on.
import { expect, test } from "bun:test";
import { Requests } from "../../client/etcd-grpc-endpoints.ts";
import { createClient } from "../../rpc/client.ts";
import { Election } from "../../rpc/gen/etcd/election_pb.ts";
import { Lock } from "../../rpc/gen/etcd/lock_pb.ts";
import { AlarmRequest_AlarmAction, AlarmType, Cluster, Lease, Maintenance } from "../../rpc/gen/etcd/rpc_pb.ts";
import type { CallOptions } from "../../rpc/types.ts";
import { bytes, DENIED, EMPTY, failure, INVALID, Served } from "../testing/served.ts";

test("each method asks for what etcd's does: nothing, a user, a permission, or root", async () => {
  await using s = await Served.start();
  const { channel } = s;
  const leaseClient = createClient(Lease, channel);
  const denied = (await leaseClient.leaseGrant({ TTL: 600n })).ID;
  await s.kv.put({ key: bytes("x"), value: bytes("1"), lease: denied });
  await s.users();
  const [alice, root] = [await s.token("alice", "apw"), await s.token("root", "pw")];
  const [kv, auth, cluster, maintenance] = [s.kv, s.auth, createClient(Cluster, channel), createClient(Maintenance, channel)];
  const [lock, election] = [createClient(Lock, channel), createClient(Election, channel)];
  const put = (key: string, more = {}) => ({ case: "requestPut" as const, value: { key: bytes(key), ...more } });
  const nested = (request: object) => ({ case: "requestTxn" as const, value: { failure: [{ request }] } });
  const all = Uint8Array.of(0);
  const keepAlive = async (o: CallOptions) => {
    const requests = new Requests<{ ID: bigint }>();
    requests.push({ ID: denied });
    try {
      for await (const _ of leaseClient.leaseKeepAlive(requests, o)) return;
    } finally {
      requests.end();
    }
  };
  const drain = async (stream: AsyncIterable<unknown>) => {
    for await (const _ of stream);
  };
  type Level = "anybody" | "user" | "permission" | "root";
  const cases: [name: string, level: Level, call: (o: CallOptions) => Promise<unknown>][] = [
    ["range", "permission", (o) => kv.range({ key: bytes("x") }, o)],
    ["serializable range", "permission", (o) => kv.range({ key: bytes("x"), serializable: true }, o)],
    ["range past what is permitted", "permission", (o) => kv.range({ key: bytes("a"), rangeEnd: all }, o)],
    ["own range", "user", (o) => kv.range({ key: bytes("a"), rangeEnd: bytes("b") }, o)],
    ["put", "permission", (o) => kv.put({ key: bytes("x") }, o)],
    ["put of a write-only key with the pair before", "permission", (o) => kv.put({ key: bytes("w"), prevKv: true }, o)],
    ["put on a lease of another's keys", "permission", (o) => kv.put({ key: bytes("a"), lease: denied }, o)],
    ["own put", "user", (o) => kv.put({ key: bytes("a") }, o)],
    ["delete", "permission", (o) => kv.deleteRange({ key: bytes("a"), rangeEnd: all }, o)],
    ["txn that reads", "permission", (o) => kv.txn({ failure: [{ request: { case: "requestRange", value: { key: bytes("x") } } }] }, o)],
    ["txn that compares", "permission", (o) => kv.txn({ compare: [{ key: bytes("x") }] }, o)],
    ["txn that puts", "permission", (o) => kv.txn({ success: [{ request: put("x") }] }, o)],
    ["txn with the pair before", "permission", (o) => kv.txn({ success: [{ request: put("w", { prevKv: true }) }] }, o)],
    ["txn on a lease", "permission", (o) => kv.txn({ success: [{ request: put("a", { lease: denied }) }] }, o)],
    ["nested txn", "permission", (o) => kv.txn({ success: [{ request: nested(put("x")) as never }] }, o)],
    ["own txn", "user", (o) => kv.txn({ success: [{ request: nested(put("w")) as never }] }, o)],
    ["compact", "root", (o) => kv.compact({ revision: 1n }, o)],
    ["lease grant", "user", (o) => leaseClient.leaseGrant({ TTL: 60n }, o)],
    ["lease revoke of none", "user", (o) => leaseClient.leaseRevoke({ ID: 1n }, o)],
    ["lease keep-alive", "permission", keepAlive],
    ["lease time to live", "user", (o) => leaseClient.leaseTimeToLive({ ID: denied }, o)],
    ["lease time to live with keys", "permission", (o) => leaseClient.leaseTimeToLive({ ID: denied, keys: true }, o)],
    ["leases", "permission", (o) => leaseClient.leaseLeases({}, o)],
    ["lease revoke", "permission", (o) => leaseClient.leaseRevoke({ ID: denied }, o)],
    ["member list", "user", (o) => cluster.memberList({}, o)],
    ["status", "user", (o) => maintenance.status({}, o)],
    ["alarms", "user", (o) => maintenance.alarm({ action: AlarmRequest_AlarmAction.GET }, o)],
    ["alarm off", "root", (o) => maintenance.alarm({ action: AlarmRequest_AlarmAction.DEACTIVATE, alarm: AlarmType.NOSPACE }, o)],
    ["defragment", "root", (o) => maintenance.defragment({}, o)],
    ["hash", "root", (o) => maintenance.hash({}, o)],
    ["hashKV", "root", (o) => maintenance.hashKV({}, o)],
    ["snapshot", "root", (o) => drain(maintenance.snapshot({}, o))],
    ["move leader", "root", (o) => maintenance.moveLeader({ targetID: 1n }, o)],
    ["auth status", "anybody", (o) => auth.authStatus({}, o)],
    ["authenticate", "anybody", (o) => auth.authenticate({ name: "alice", password: "apw" }, o)],
    ["user add", "root", (o) => auth.userAdd({ name: "alice" }, o)],
    ["user list", "root", (o) => auth.userList({}, o)],
    ["user get", "root", (o) => auth.userGet({ name: "root" }, o)],
    ["own user", "user", (o) => auth.userGet({ name: "alice" }, o)],
    ["user grant", "root", (o) => auth.userGrantRole({ user: "alice", role: "none" }, o)],
    ["user password", "root", (o) => auth.userChangePassword({ name: "none" }, o)],
    ["user revoke", "root", (o) => auth.userRevokeRole({ name: "alice", role: "none" }, o)],
    ["user delete", "root", (o) => auth.userDelete({ name: "none" }, o)],
    ["role add", "root", (o) => auth.roleAdd({ name: "r" }, o)],
    ["role list", "root", (o) => auth.roleList({}, o)],
    ["role get", "root", (o) => auth.roleGet({ role: "root" }, o)],
    ["own role", "user", (o) => auth.roleGet({ role: "r" }, o)],
    ["role grant", "root", (o) => auth.roleGrantPermission({ name: "none", perm: { key: bytes("x") } }, o)],
    ["role revoke", "root", (o) => auth.roleRevokePermission({ role: "none" }, o)],
    ["role delete", "root", (o) => auth.roleDelete({ role: "none" }, o)],
    ["enable", "root", (o) => auth.authEnable({}, o)],
    ["lock", "permission", (o) => lock.lock({ name: bytes("x") }, o)],
    ["own lock", "user", (o) => lock.lock({ name: bytes("a-lock") }, o)],
    ["unlock", "permission", (o) => lock.unlock({ key: bytes("x/1") }, o)],
    ["campaign", "permission", (o) => election.campaign({ name: bytes("x") }, o)],
    ["proclaim", "permission", (o) => election.proclaim({ leader: { name: bytes("x"), key: bytes("x/1"), rev: 1n } }, o)],
    ["leader", "permission", (o) => election.leader({ name: bytes("x") }, o)],
    ["resign", "permission", (o) => election.resign({ leader: { name: bytes("x"), key: bytes("x/1"), rev: 1n } }, o)],
    ["observe", "permission", (o) => drain(election.observe({ name: bytes("none") }, o))],
  ];
  const allowed = (answer: string | undefined) => !answer?.includes("permission denied") && !answer?.includes("user name is empty");
  for (const [name, level, call] of cases) {
    const asked = level === "anybody";
    expect([name, "nobody", allowed(await failure(call({})))]).toEqual([name, "nobody", asked]);
    const bogus = await failure(call({ headers: { token: "bogus.1" } }));
    expect([name, "bogus", bogus?.includes("invalid auth token") ?? false]).toEqual([name, "bogus", !asked]);
    const asAlice = await failure(call(alice));
    expect([name, "alice", allowed(asAlice)]).toEqual([name, "alice", asked || level === "user"]);
  }
  // What would wait, or change who may what, not as root.
  for (const [name, , call] of cases.filter(([name]) => !["observe", "campaign", "lock"].includes(name))) {
    expect([name, "root", allowed(await failure(call(root)))]).toEqual([name, "root", true]);
  }
  expect(await failure(kv.put({ key: bytes("x") }))).toBe(EMPTY);
  expect(await failure(kv.put({ key: bytes("x") }, alice))).toBe(DENIED);
  expect(await failure(kv.range({ key: bytes("x") }, { headers: { token: "bogus.1" } }))).toBe(INVALID);
  expect(await failure(kv.range({ key: bytes("a") }, { headers: { authorization: alice.headers!.token! } }))).toBeUndefined();
});

test("a watch is permitted when it is made, and refused with a reason", async () => {
  await using s = await Served.start();
  await s.users();
  const alice = await s.token("alice", "apw");
  expect(await s.watch("a", "b", alice)).toEqual({ id: 0n, reason: "" });
  expect(await s.watch("a1", undefined, alice)).toEqual({ id: 0n, reason: "" });
  const reason = (code: string, text: string) => ({ id: -1n, reason: `rpc error: code = ${code} desc = etcdserver: ${text}` });
  expect(await s.watch("a", "c", alice)).toEqual(reason("PermissionDenied", "permission denied"));
  expect(await s.watch("a", "\0", alice)).toEqual(reason("PermissionDenied", "permission denied"));
  expect(await s.watch("w", undefined, alice)).toEqual(reason("PermissionDenied", "permission denied"));
  expect(await s.watch("a", undefined, {})).toEqual(reason("InvalidArgument", "user name is empty"));
  expect(await s.watch("a", undefined, { headers: { token: "x.1" } })).toEqual(reason("Unauthenticated", "invalid auth token"));
});
