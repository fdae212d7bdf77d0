// Users, tokens and locks of three members: what one member was told holds at
// every other, also when the leader dies.
import { afterEach, describe, expect, test } from "bun:test";
import { parseEndpoint } from "../../src/client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../src/rpc/client.ts";
import { Permission_Type } from "../../src/rpc/gen/etcd/auth_pb.ts";
import { Lock } from "../../src/rpc/gen/etcd/lock_pb.ts";
import { Auth, KV, Lease } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import { type CallOptions, Code, RpcError } from "../../src/rpc/types.ts";
import { allServing, leaderOf, serving, watchersAt } from "./support/checks.ts";
import { type Kind, type Member, StoreCluster } from "./support/cluster.ts";
import { until } from "./support/commands.ts";

const FLAGS = ["--bcrypt-cost", "4"];
const bytes = (s: string) => new TextEncoder().encode(s);

const kinds = (["etcd", "kubun"] as Kind[]).filter((kind) => {
  const absent = kind === "etcd" && !Bun.which("etcd");
  if (absent) console.log("skipped: auth of three real etcds: no etcd on PATH (Debian package etcd-server)");
  return !absent;
});

const open: (() => PromiseLike<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** The member's services, on a connection of their own. */
function at(member: Member) {
  const channel: Channel = connect(parseEndpoint(member.endpoint).address);
  open.push(() => channel.close());
  return {
    auth: createClient(Auth, channel),
    kv: createClient(KV, channel),
    lease: createClient(Lease, channel),
    lock: createClient(Lock, channel),
  };
}

async function cluster(kind: Kind): Promise<StoreCluster> {
  const made = await StoreCluster.make({ kind, members: 3, flags: FLAGS });
  open.push(() => made[Symbol.asyncDispose]());
  await allServing(made);
  return made;
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "OK",
    (error: unknown) => (error instanceof RpcError ? Code[error.code] : String(error)),
  );

/** What etcd 3.4 says, with a code for what it does not know, to those whom a leader left without an answer. */
const LEADER_CHANGED = "etcdserver: leader changed";

/** Once more as long as there is no leader to ask. */
const patiently = <T>(call: () => Promise<T>): Promise<T> =>
  until("an answer", async () => {
    try {
      return { answer: await call() };
    } catch (error) {
      if (!(error instanceof RpcError)) return { error };
      if ([Code.Unavailable, Code.DeadlineExceeded].includes(error.code) || error.message === LEADER_CHANGED) return undefined;
      return { error };
    }
  }).then((r) => {
    if ("error" in r) throw r.error;
    return r.answer;
  });

for (const kind of kinds) {
  describe(`three members of ${kind}`, () => {
    test("know one another's tokens, and a changed role holds at each at once", async () => {
      const { members } = await cluster(kind);
      const leader = await leaderOf(members[0]!.cluster);
      const all = members.map(at);
      const [first] = all;
      const { auth } = first!;
      await auth.userAdd({ name: "root", password: "pw" });
      await auth.userGrantRole({ user: "root", role: "root" });
      await auth.userAdd({ name: "alice", password: "apw" });
      await auth.roleAdd({ name: "r" });
      await auth.userGrantRole({ user: "alice", role: "r" });
      await auth.authEnable({});
      // Acknowledged by one, it holds at all.
      for (const { kv } of all) expect(await code(kv.put({ key: bytes("a") }))).toBe("InvalidArgument");
      const token = async (name: string, password: string, from = first!): Promise<CallOptions> => ({
        headers: { token: (await patiently(() => from.auth.authenticate({ name, password }, { timeout: 5000 }))).token },
        timeout: 5000,
      });
      const [root, alice] = [await token("root", "pw"), await token("alice", "apw")];
      const perm = { permType: Permission_Type.READWRITE, key: bytes("a") };
      // What a member that is a moment behind proposes is of an old revision; etcd leaves the second try to its client.
      const current = <T>(call: () => Promise<T>): Promise<T> =>
        call().catch((error) => (kind === "etcd" && String(error).includes("auth store is old") ? current(call) : Promise.reject(error)));
      for (let round = 0; round < 12; round++) {
        const [told, asked] = [all[round % 3]!, all[(round + 1 + (round % 2)) % 3]!];
        const grant = round % 2 === 0;
        if (grant) await told.auth.roleGrantPermission({ name: "r", perm }, root);
        else await told.auth.roleRevokePermission({ role: "r", key: perm.key }, root);
        const wanted = grant ? "OK" : "PermissionDenied";
        const answers = await Promise.all([
          code(current(() => asked.kv.range({ key: bytes("a") }, alice))),
          code(current(() => asked.kv.put({ key: bytes("a") }, alice))),
          code(current(() => asked.kv.txn({ success: [{ request: { case: "requestRange", value: { key: bytes("a") } } }] }, alice))),
        ]);
        expect([round, ...answers]).toEqual([round, wanted, wanted, wanted]);
      }
      await first!.auth.roleGrantPermission({ name: "r", perm }, root);

      const settled = <T>(call: () => Promise<T>): Promise<T> => current(() => patiently(call));
      const survivors = members.filter((m) => m !== leader);
      await leader.kill();
      for (const m of survivors) {
        expect(await code(settled(() => at(m).kv.put({ key: bytes("a") }, alice)))).toBe("OK");
        expect(await code(settled(() => at(m).kv.range({ key: bytes("b") }, alice)))).toBe("PermissionDenied");
      }
      leader.start();
      const back = at(leader);
      // A token of the member that is back is one of all; an old password is nobody's.
      await until(
        "the member that was killed",
        async () => (await code(back.auth.authenticate({ name: "alice", password: "apw" }, { timeout: 1000 }))) === "OK",
      );
      const fresh = await token("alice", "apw", back);
      for (const m of members) expect(await code(settled(() => at(m).kv.range({ key: bytes("a") }, fresh)))).toBe("OK");
      await patiently(() => at(survivors[0]!).auth.userChangePassword({ name: "alice", password: "new" }, root));
      for (const m of members) {
        const written = () => code(settled(() => at(m).kv.put({ key: bytes("a") }, fresh)));
        // A member of etcd that is a moment behind still takes it.
        if (kind === "etcd") await until("etcd to refuse the token", async () => (await written()) === "Unauthenticated");
        else expect(await written()).toBe("Unauthenticated");
        expect(await code(patiently(() => at(m).auth.authenticate({ name: "alice", password: "apw" }, { timeout: 5000 })))).toBe(
          "InvalidArgument",
        );
      }
      expect(await code(patiently(() => at(survivors[1]!).auth.authDisable({}, root)))).toBe("OK");
      for (const m of members) expect(await code(patiently(() => at(m).kv.put({ key: bytes("x") }, { timeout: 5000 })))).toBe("OK");
    }, 90_000);

    test("hand on a lock that was taken at one and is let go at another, or whose leader dies with its holder's lease", async () => {
      const { members } = await cluster(kind);
      const leader = await leaderOf(members[0]!.cluster);
      const followers = members.filter((m) => m !== leader) as [Member, Member];
      const [one, two] = [at(followers[0]), at(followers[1])];
      const lead = at(leader);
      const { key } = await one.lock.lock({ name: bytes("l") });
      const waiting = two.lock.lock({ name: bytes("l") });
      const count = async (n: number) => {
        const range = { key: bytes("l/"), rangeEnd: bytes("l0"), countOnly: true };
        await until(`${n} keys`, async () => Number((await two.kv.range(range)).count) === n);
      };
      await count(2);
      await lead.lock.unlock({ key });
      const next = await waiting;
      expect(next.key).not.toEqual(key);
      await lead.lock.unlock({ key: next.key });

      const waits = (n: number) => until(`${n} waiting for a lock`, async () => (await watchersAt(followers[1].endpoint)) === n);
      await waits(0);
      const { ID } = await one.lease.leaseGrant({ TTL: 2n });
      await one.lock.lock({ name: bytes("l"), lease: ID });
      const last = two.lock.lock({ name: bytes("l") });
      // One that still reads who is before it is told of the leader's end.
      await waits(1);
      await leader.kill();
      // Nobody keeps the lease alive: the new leader ends it.
      expect((await last).key.length).toBeGreaterThan(2);
      leader.start();
      await serving(leader);
    }, 90_000);
  });
}
