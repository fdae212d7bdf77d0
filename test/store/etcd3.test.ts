// The npm client etcd3 against Debian's etcd and against our store: what it can
// do with the one it can do with the other.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError, type IOptions, type Namespace, type Watcher } from "etcd3";
import { allServing, serving } from "./support/checks.ts";
import { type Kind, StoreCluster } from "./support/cluster.ts";
import { until } from "./support/commands.ts";

const kinds = (["etcd", "kubun"] as Kind[]).filter((kind) => {
  const absent = kind === "etcd" && !Bun.which("etcd");
  if (absent) console.log("skipped: etcd3 against a real etcd: no etcd on PATH (Debian package etcd-server)");
  return !absent;
});

/** What a watcher saw, as "put key=value" and "delete key". */
function events(watcher: Watcher): string[] {
  const seen: string[] = [];
  watcher.on("put", (kv, previous) => seen.push(`put ${kv.key}=${kv.value}${previous ? ` before ${previous.value}` : ""}`));
  watcher.on("delete", (kv, previous) => seen.push(`delete ${kv.key}${previous ? ` before ${previous.value}` : ""}`));
  return seen;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (e: unknown) => e,
  );

for (const kind of kinds) {
  describe(`etcd3 with ${kind}`, () => {
    let cluster: StoreCluster;
    const clients: Etcd3[] = [];
    const connect = (options: Partial<IOptions> = {}) => {
      const client = new Etcd3({ hosts: cluster.members[0]!.clientUrl, ...options });
      clients.push(client);
      return client;
    };
    let root: Etcd3;
    let tests = 0;
    let ns: Namespace;

    beforeAll(async () => {
      cluster = await StoreCluster.make({ kind, members: 1 });
      await allServing(cluster);
    });
    afterAll(async () => {
      for (const c of clients) c.close();
      await cluster?.[Symbol.asyncDispose]();
    });

    /** A test in a namespace of its own. */
    const scene = (name: string, run: () => Promise<void>) =>
      test(name, async () => {
        // A client of its own: one whose circuit breaker is open fails without asking.
        root = connect();
        ns = root.namespace(`/etcd3/${tests++}/`);
        await run();
      });

    scene("puts, gets, lists and deletes", async () => {
      await ns.put("a").value("1");
      await ns.put("b").value(JSON.stringify({ x: 1 }));
      await ns.put("c").value(3);
      expect(await ns.get("a").string()).toBe("1");
      expect(await ns.get("b").json()).toEqual({ x: 1 });
      expect(await ns.get("c").number()).toBe(3);
      expect(await ns.get("none").string()).toBeNull();
      expect(await ns.getAll().strings()).toEqual({ a: "1", b: '{"x":1}', c: "3" });
      expect(await ns.getAll().sort("Key", "Descend").limit(2).keys()).toEqual(["c", "b"]);
      expect(await ns.getAll().count()).toBe(3);
      const old = (await ns.get("a").exec()).header.revision;
      const previous = await ns.put("a").value("2").getPrevious();
      expect(previous.value.toString()).toBe("1");
      expect(await ns.get("a").revision(old).string()).toBe("1");
      await ns.put("a").ignoreLease().value("3");
      expect(
        Number(
          (
            await ns
              .delete()
              .range(ns.range({ start: "a", end: "c" }))
              .exec()
          ).deleted,
        ),
      ).toBe(2);
      expect(await ns.getAll().keys()).toEqual(["c"]);
      await ns.delete().all();
      expect(await ns.getAll().count()).toBe(0);
    });

    scene("namespaces hide one another's keys", async () => {
      const inner = ns.namespace("inner/");
      await inner.put("k").value("in");
      await ns.put("k").value("out");
      expect(await inner.getAll().strings()).toEqual({ k: "in" });
      expect(await ns.getAll().strings()).toEqual({ "inner/k": "in", k: "out" });
      const seen = events(await inner.watch().prefix("").create());
      await ns.put("inner/k2").value("x");
      await until("the inner watcher's event", () => seen.length > 0);
      expect(seen).toEqual(["put k2=x"]);
    });

    scene("compares and sets in transactions", async () => {
      const set = (value: string) => ns.if("k", "Create", "==", 0).then(ns.put("k").value(value)).else(ns.get("k")).commit();
      expect((await set("1")).succeeded).toBe(true);
      const second = await set("2");
      expect(second.succeeded).toBe(false);
      expect(second.responses[0]!.response_range!.kvs[0]!.value.toString()).toBe("1");
      const both = await ns
        .if("k", "Value", "==", "1")
        .and("k", "Version", "<", 2)
        .and("k", "Mod", ">", 0)
        .then(ns.delete().key("k"), ns.put("l").value("x"))
        .commit();
      expect(both.succeeded).toBe(true);
      expect(await ns.getAll().strings()).toEqual({ l: "x" });
    });

    scene("watches keys and prefixes, from the past too, with filters", async () => {
      const { header } = await ns.put("a").value("1");
      const all = events(await ns.watch().prefix("").withPreviousKV().create());
      const one = events(await ns.watch().key("a").create());
      const past = events(await ns.watch().prefix("").startRevision(header.revision).create());
      const puts = events(await ns.watch().prefix("").only("put").create());
      const deletes = events(await ns.watch().prefix("").only("delete").create());
      const watcher = await ns.watch().key("b").create();
      const cancelled = events(watcher);
      await watcher.cancel();
      await ns.put("a").value("2");
      await ns.put("b").value("1");
      await ns.delete().key("a");
      await ns.put("end").value("x");
      await until(
        "the end",
        () => all.length === 4 && one.length === 2 && past.length === 5 && puts.length === 3 && deletes.length === 1,
        30_000,
        () => JSON.stringify({ all, one, past, puts, deletes }),
      );
      expect(all).toEqual(["put a=2 before 1", "put b=1", "delete a before 2", "put end=x"]);
      expect(one).toEqual(["put a=2", "delete a"]);
      expect(past).toEqual(["put a=1", "put a=2", "put b=1", "delete a", "put end=x"]);
      expect(puts).toEqual(["put a=2", "put b=1", "put end=x"]);
      expect(deletes).toEqual(["delete a"]);
      expect(cancelled).toEqual([]);
    });

    scene("keeps leases, tells of one that is lost, and lets one go", async () => {
      const lease = ns.lease(60);
      await lease.put("k").value("1");
      expect(await ns.get("k").string()).toBe("1");
      expect(Number((await lease.keepaliveOnce()).TTL)).toBe(60);
      await lease.revoke();
      expect(await ns.get("k").string()).toBeNull();

      const lost = ns.lease(60);
      const id = await lost.grant();
      const told = new Promise((resolve) => lost.on("lost", resolve));
      await root.leaseClient.leaseRevoke({ ID: id });
      await lost.keepaliveOnce().catch((e: unknown) => expect(e).toBeInstanceOf(EtcdLeaseInvalidError));
      expect(await told).toBeInstanceOf(EtcdLeaseInvalidError);

      const short = ns.lease(1, { autoKeepAlive: false });
      await short.put("short").value("1");
      await until("the key to go with its lease", async () => (await ns.get("short").string()) === null);

      const kept = ns.lease(1);
      let beats = 0;
      kept.on("keepaliveSucceeded", () => beats++);
      await kept.put("kept").value("1");
      await until("more keep-alives than one TTL has", () => beats > 3);
      expect(await ns.get("kept").string()).toBe("1");
      kept.release();
      await until("the key of a lease that was let go", async () => (await ns.get("kept").string()) === null);
    });

    scene("locks keep others out until they are let go", async () => {
      const lock = await ns.lock("l").ttl(30).acquire();
      expect(await failure(ns.lock("l").ttl(30).acquire())).toBeInstanceOf(EtcdLockFailedError);
      expect(await failure(ns.lock("l").do(() => 1))).toBeInstanceOf(EtcdLockFailedError);
      await lock.release();
      let inside = 0;
      const turns = await Promise.all(
        Array.from({ length: 8 }, async () => {
          for (;;) {
            try {
              return await ns
                .lock("l")
                .ttl(30)
                .do(async () => {
                  expect(++inside).toBe(1);
                  await ns.put("work").value("x");
                  inside--;
                  return true;
                });
            } catch (e) {
              if (!(e instanceof EtcdLockFailedError)) throw e;
            }
          }
        }),
      );
      expect(turns).toEqual(Array(8).fill(true));
    });

    scene("elections have one leader, who can proclaim and resign, and observers see each", async () => {
      const election = ns.election("boss", 30);
      const observer = await election.observe();
      const first = election.campaign("one");
      await first.wait();
      // An observer that learns of two candidates at once takes the later for the leader.
      await until("the first to be seen", () => observer.leader() === "one");
      const second = election.campaign("two");
      let won = false;
      const next = second.wait().then(() => {
        won = true;
      });
      expect(await election.leader()).toBe("one");
      await first.proclaim("one again");
      await until("what it proclaimed", () => observer.leader() === "one again");
      expect(won).toBe(false);
      await first.resign();
      await next;
      await until("the second to be seen", () => observer.leader() === "two");
      expect(await election.leader()).toBe("two");
      await second.resign();
      await until("nobody to be seen", () => observer.leader() === undefined);
      await observer.cancel();
    });

    scene("software transactions of many clients add up", async () => {
      await ns.put("count").value(0);
      await Promise.all(
        Array.from({ length: 6 }, async () => {
          for (let i = 0; i < 4; i++) {
            await ns.stm({ retries: 100 }).transact(async (tx) => {
              const n = (await tx.get("count").number())!;
              await tx.put("count").value(n + 1);
              if (n === 10) await tx.put("ten").value("seen");
            });
          }
        }),
      );
      expect(await ns.get("count").number()).toBe(24);
      expect(await ns.get("ten").string()).toBe("seen");
      await ns.stm().transact(async (tx) => {
        await tx.delete().key("ten");
        expect(await tx.get("ten").string()).toBeNull();
      });
      expect(await ns.get("ten").string()).toBeNull();
    });

    scene("watchers go on exactly where they were after the store was killed and started", async () => {
      const watcher = await ns.watch().prefix("").create();
      const seen = events(watcher);
      const expected: string[] = [];
      const member = cluster.members[0]!;
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 5; i++) {
          const value = `${round}.${i}`;
          await ns.put("k").value(value);
          expected.push(`put k=${value}`);
        }
        if (round === 1) await until("what came before", () => seen.length === expected.length);
        await member.kill();
        member.start();
        await serving(member);
        await until("the client to be connected again", () =>
          ns
            .get("k")
            .string()
            .catch(() => undefined),
        );
      }
      await until("all events", () => seen.length >= expected.length);
      expect(seen).toEqual(expected);
    });

    scene("users may do what their roles say, and no more", async () => {
      const admin = root.role("root");
      await admin.create();
      const boss = await root.user("root").create("secret");
      await boss.addRole("root");
      const role = await root.role("reader").create();
      await role.grant({ permission: "Read", range: root.range({ prefix: "/open/" }) });
      await role.grant({ permission: "Readwrite", key: "/open/own" });
      const user = await root.user("ann").create("pass");
      await user.addRole("reader");
      expect((await user.roles()).map((r) => r.name)).toEqual(["reader"]);
      expect((await role.permissions()).map((p) => p.permission)).toEqual(["Read", "Readwrite"]);
      expect((await root.getUsers()).map((u) => u.name)).toEqual(["ann", "root"]);
      expect((await root.getRoles()).map((r) => r.name)).toEqual(["reader", "root"]);
      await root.put("/open/a").value("1");
      await root.auth.authEnable();
      const authed = connect({ auth: { username: "root", password: "secret" } });
      try {
        const ann = connect({ auth: { username: "ann", password: "pass" } });
        expect(await ann.get("/open/a").string()).toBe("1");
        await ann.put("/open/own").value("2");
        const said = async (promise: Promise<unknown>) => ((await failure(promise)) as Error | undefined)?.message ?? "nothing";
        expect(await said(ann.put("/open/a").value("3").exec())).toContain("permission denied");
        expect(await said(ann.get("/closed").string())).toContain("permission denied");
        const wrong = connect({ auth: { username: "ann", password: "wrong" } });
        expect(await said(wrong.get("/open/a").string())).toContain("authentication failed");
        expect(await said(root.get("/open/a").string())).toContain("user name is empty");
        await authed.role("reader").revoke({ permission: "Read", range: root.range({ prefix: "/open/" }) });
        expect(await said(ann.get("/open/b").string())).toContain("permission denied");
      } finally {
        await authed.auth.authDisable();
      }
      expect(await root.get("/open/a").string()).toBe("1");
    });
  });
}
