// Leases while leaders die: none ends early, those that are kept never end, and
// those that nobody keeps end.
import { afterEach, describe, expect, test } from "bun:test";
import { EtcdClient } from "../../src/client/etcd-grpc.ts";
import { allServing, leaderOf, serving } from "./support/checks.ts";
import { StoreCluster } from "./support/cluster.ts";
import { until } from "./support/commands.ts";
import { kind, others, TIMING } from "./support/scene.ts";
import { bytes, Watcher } from "./support/watcher.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const o of open.splice(0).reverse()) await o[Symbol.asyncDispose]();
});

describe(`leases of three members of ${kind}`, () => {
  test("outlive their leaders, do not end before their time, and end when nobody keeps them", async () => {
    const cluster = await StoreCluster.make({ kind, flags: TIMING });
    open.push(cluster);
    await allServing(cluster);
    const client = new EtcdClient({ endpoints: cluster.endpoints });
    open.push({ [Symbol.asyncDispose]: () => client.close() });
    const put = (key: string, lease: bigint) => client.txn([], [{ type: "put", key: bytes(key), value: bytes("x"), lease }]);

    /** Nobody keeps these; the shorter, the sooner they end. */
    const left: { key: string; granted: number; ttl: number; ended?: number }[] = [];
    for (const ttl of [2, 3, 5]) {
      const granted = performance.now();
      const lease = await client.leaseGrant(ttl);
      const key = `/lease/left-${ttl}`;
      await put(key, lease.id);
      left.push({ key, granted, ttl: lease.ttl });
    }
    const kept = await client.leaseGrant(10);
    await put("/lease/kept", kept.id);
    const watcher = new Watcher(cluster.endpoints, "/lease/");
    open.push({ [Symbol.asyncDispose]: () => watcher.stop() });
    /** When the watch saw each key go: no earlier than it went. */
    const ended = () => watcher.changes.filter((c) => c.value === null).map((c) => c.key);
    const note = () => {
      for (const l of left) if (l.ended === undefined && ended().includes(l.key)) l.ended = performance.now();
    };

    let keeping = true;
    let answers = 0;
    const keeper = (async () => {
      while (keeping) {
        // Between two leaders there is nobody to answer.
        await client.leaseKeepAlive(kept.id).then(
          () => answers++,
          (error: Error) => expect(error.message).not.toContain("lease not found"),
        );
        note();
        await Bun.sleep(20);
      }
    })();
    try {
      for (let round = 0; round < 3; round++) {
        const leader = await leaderOf(cluster);
        await leader.kill();
        await leaderOf(cluster, others(cluster, leader));
        const before = answers;
        await until("the lease to be kept by the next leader", () => answers > before);
        leader.start();
        await serving(leader);
      }
      await until("the leases that nobody keeps to end", () => {
        note();
        return left.every((l) => l.ended !== undefined);
      });
    } finally {
      keeping = false;
      await keeper;
    }
    for (const { key, granted, ttl, ended } of left) expect([key, ended! - granted >= ttl * 1000]).toEqual([key, true]);
    expect(ended()).not.toContain("/lease/kept");
    expect((await client.range(bytes("/lease/kept"))).count).toBe(1);
    await client.leaseRevoke(kept.id);
    expect((await client.range(bytes("/lease/kept"))).count).toBe(0);
  });
});
