// Locks and elections: the same tests against the store and a real etcd, and
// etcdctl's own ones, which are made of keys alone.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { Election } from "../../rpc/gen/etcd/election_pb.ts";
import { Lock } from "../../rpc/gen/etcd/lock_pb.ts";
import { KV, Lease } from "../../rpc/gen/etcd/rpc_pb.ts";
import { Code, type RpcError } from "../../rpc/types.ts";
import { noEtcd, noEtcdctl, startEtcd } from "../../testing/etcd.ts";
import { Store } from "../mod.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const failure = async (promise: Promise<unknown>) => {
  const e = (await promise.then(
    () => undefined,
    (error: unknown) => error,
  )) as RpcError | undefined;
  return e && [Code[e.code], e.message];
};

async function startOurs() {
  const dir = mkdtempSync(join(tmpdir(), "kubun-queue-"));
  const store = new Store({ dataDir: dir, listen: [{ host: "127.0.0.1", port: 0 }] });
  await store.start();
  const stop = async () => {
    await store.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  return { endpoint: new URL(store.address!).host, old: false, stop };
}

async function startTheirs() {
  const etcd = await startEtcd();
  return {
    endpoint: etcd.endpoint,
    old: (await etcd.client().status()).version.startsWith("3.4."),
    stop: () => etcd[Symbol.asyncDispose](),
  };
}

if (noEtcd) console.log(`skipped: locks and elections of a real etcd: ${noEtcd}`);

for (const [who, start, skip] of [
  ["the store", startOurs, undefined],
  ["a real etcd", startTheirs, noEtcd],
] as const) {
  describe.skipIf(skip !== undefined)(who, () => {
    let server: { endpoint: string; old: boolean; stop(): PromiseLike<void> };
    let channel: Channel;
    beforeAll(async () => {
      server = await start();
      const [host, port] = server.endpoint.split(":");
      channel = connect({ host: host!, port: Number(port) });
    });
    afterAll(async () => {
      channel.close();
      await server.stop();
    });

    const lock = () => createClient(Lock, channel);
    const election = () => createClient(Election, channel);
    const lease = async (ttl = 60n) => (await createClient(Lease, channel).leaseGrant({ TTL: ttl })).ID;
    const revoke = (ID: bigint) => createClient(Lease, channel).leaseRevoke({ ID });
    /** The keys of a name, in the order of their creation. */
    const keys = async (name: string) =>
      (await createClient(KV, channel).range({ key: bytes(`${name}/`), rangeEnd: bytes(`${name}0`), sortTarget: 2, sortOrder: 1 })).kvs;
    async function waiting(name: string, count: number): Promise<void> {
      while ((await keys(name)).length !== count) await new Promise((resolve) => setImmediate(resolve));
    }

    test("a lock is handed on in the order of asking: by unlocking, by revoking, and past those who gave up", async () => {
      const [a, b, c, d] = await Promise.all([lease(), lease(), lease(), lease()]);
      const first = await lock().lock({ name: bytes("l"), lease: a });
      expect(text(first.key)).toBe(`l/${a.toString(16)}`);
      expect(Number(first.header!.revision)).toBeGreaterThan(1);
      const order: string[] = [];
      const ask = async (name: string, id: bigint, signal?: AbortSignal) => {
        const { key } = await lock().lock({ name: bytes("l"), lease: id }, { signal });
        order.push(name);
        return key;
      };
      const second = ask("b", b);
      await waiting("l", 2);
      const gone = new AbortController();
      const third = failure(ask("c", c, gone.signal));
      await waiting("l", 3);
      const fourth = ask("d", d);
      await waiting("l", 4);
      gone.abort();
      expect((await third)?.[0]).toBe("Canceled");
      // Its key goes with it.
      await waiting("l", 3);
      await lock().unlock({ key: first.key });
      await second;
      await revoke(b);
      await fourth;
      expect(order).toEqual(["b", "d"]);
      expect((await keys("l")).map((kv) => kv.lease)).toEqual([d]);
    });

    test("who has the lock may take it again, and who lost the lease has not", async () => {
      const [a, b] = [await lease(), await lease()];
      const { key } = await lock().lock({ name: bytes("again"), lease: a });
      expect((await lock().lock({ name: bytes("again"), lease: a })).key).toEqual(key);
      const waits = failure(lock().lock({ name: bytes("again"), lease: b }));
      await waiting("again", 2);
      // Its own key is gone by the time that the one before it is.
      await createClient(KV, channel).deleteRange({ key: bytes(`again/${b.toString(16)}`) });
      await lock().unlock({ key });
      // etcd 3.4 did not look.
      expect(await waits).toEqual(server.old ? undefined : ["Unknown", "mutex: session is expired"]);
      const own = await lock().lock({ name: bytes("own") });
      expect((await keys("own"))[0]!.lease).not.toBe(0n);
      await lock().unlock({ key: own.key });
      await lock().unlock({ key: bytes("none") });
      expect(await failure(lock().lock({ name: bytes("x"), lease: 12345n }))).toEqual(["Unknown", "etcdserver: requested lease not found"]);
    });

    test("an election has one leader at a time, who proclaims, resigns, or runs out", async () => {
      const name = bytes("e");
      expect(await failure(election().leader({ name }))).toEqual(["Unknown", "election: no leader"]);
      const [a, b] = [await lease(), await lease()];
      const watching = new AbortController();
      const observed: string[] = [];
      let seen = () => {};
      const observing = (async () => {
        for await (const { kv } of election().observe({ name }, { signal: watching.signal })) {
          observed.push(text(kv!.value));
          seen();
        }
      })();
      const sees = async (value: string) => {
        while (observed.at(-1) !== value) await new Promise<void>((resolve) => (seen = resolve));
      };
      const one = await election().campaign({ name, lease: a, value: bytes("a1") });
      expect(one.leader).toMatchObject({ name, key: bytes(`e/${a.toString(16)}`), lease: a });
      await sees("a1");
      const next = election().campaign({ name, lease: b, value: bytes("b1") });
      await waiting("e", 2);
      await election().proclaim({ leader: one.leader!, value: bytes("a2") });
      await sees("a2");
      const { kv } = await election().leader({ name });
      expect([text(kv!.value), kv!.createRevision, kv!.lease]).toEqual(["a2", one.leader!.rev, a]);
      // Again by the same candidate: only the value changes.
      const again = await election().campaign({ name, lease: a, value: bytes("a3") });
      expect(again.leader!.rev).toBe(one.leader!.rev);
      await sees("a3");
      await election().resign({ leader: one.leader! });
      const two = await next;
      await sees("b1");
      expect(await failure(election().proclaim({ leader: one.leader!, value: bytes("late") }))).toEqual([
        "Unknown",
        "election: not leader",
      ]);
      await election().resign({ leader: one.leader! });
      expect(text((await election().leader({ name })).kv!.value)).toBe("b1");
      await revoke(b);
      expect(await failure(election().proclaim({ leader: two.leader!, value: bytes("x") }))).toEqual(["Unknown", "election: not leader"]);
      expect(await failure(election().leader({ name }))).toEqual(["Unknown", "election: no leader"]);
      expect(await failure(election().proclaim({ value: bytes("x") }))).toEqual(["Unknown", '"leader" field must be provided']);
      expect(await failure(election().resign({}))).toEqual(["Unknown", '"leader" field must be provided']);
      expect(await failure(election().campaign({ name, lease: 12345n }))).toEqual(["Unknown", "etcdserver: requested lease not found"]);
      expect(observed).toEqual(["a1", "a2", "a3", "b1"]);
      watching.abort();
      expect((await failure(observing))?.[0]).toBe("Canceled");
    });

    test("a candidate that gives up leaves the queue", async () => {
      const name = bytes("quit");
      const [a, b, c] = [await lease(), await lease(), await lease()];
      const { leader } = await election().campaign({ name, lease: a, value: bytes("a") });
      const gone = new AbortController();
      const quits = failure(election().campaign({ name, lease: b, value: bytes("b") }, { signal: gone.signal }));
      await waiting("quit", 2);
      const stays = election().campaign({ name, lease: c, value: bytes("c") });
      await waiting("quit", 3);
      gone.abort();
      expect((await quits)?.[0]).toBe("Canceled");
      await waiting("quit", 2);
      await election().resign({ leader: leader! });
      expect((await stays).leader!.lease).toBe(c);
    });

    test.skipIf(noEtcdctl !== undefined)(
      "etcdctl locks and elects",
      async () => {
        const ctl = (...args: string[]) =>
          Bun.spawn(["etcdctl", "--endpoints", server.endpoint, ...args], { env: { ...process.env, ETCDCTL_API: "3" }, stdout: "pipe" });
        const children: Bun.Subprocess<"ignore", "pipe", "inherit">[] = [];
        const started = (...args: string[]) => {
          const child = ctl(...args);
          children.push(child);
          return { child, lines: linesOf(child.stdout) };
        };
        try {
          const holder = started("lock", "ctl");
          expect((await holder.lines.next()).value).toMatch(/^ctl\/[0-9a-f]+$/);
          const second = started("lock", "ctl", "echo", "got", "it");
          await waiting("ctl", 2);
          holder.child.kill("SIGINT");
          expect((await second.lines.next()).value).toBe("got it");
          expect(await second.child.exited).toBe(0);

          const one = started("elect", "ctl-e", "one");
          expect((await one.lines.next()).value).toMatch(/^ctl-e\/[0-9a-f]+$/);
          expect((await one.lines.next()).value).toBe("one");
          const two = started("elect", "ctl-e", "two");
          await waiting("ctl-e", 2);
          const listener = started("elect", "-l", "ctl-e");
          expect([(await listener.lines.next()).value, (await listener.lines.next()).value]).toEqual([
            expect.stringMatching(/^ctl-e/),
            "one",
          ]);
          one.child.kill("SIGINT");
          expect((await two.lines.next()).value).toMatch(/^ctl-e/);
          expect((await two.lines.next()).value).toBe("two");
          expect([(await listener.lines.next()).value, (await listener.lines.next()).value]).toEqual([
            expect.stringMatching(/^ctl-e/),
            "two",
          ]);
          two.child.kill("SIGINT");
          await waiting("ctl-e", 0);
        } finally {
          for (const child of children) child.kill("SIGKILL");
          await Promise.all(children.map((c) => c.exited));
        }
      },
      30_000,
    );
  });
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
