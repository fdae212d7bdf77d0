// Which stores an apiserver uses: single resources apart from the rest, and
// several members of one etcd, of which one may be gone.
import { expect, test } from "bun:test";
import { EtcdClient } from "../client/etcd-grpc.ts";
import type { ApiTransport } from "../client/transport.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { noEtcd, startEtcdMembers } from "../testing/etcd.ts";
import { MemoryStore } from "../testing/memory-store.ts";

if (noEtcd) console.log(`skipped: ${noEtcd}`);

const admin = (s: TestApiServer): ApiTransport => s.api.transport({ name: "admin", groups: ["system:masters"] });
const maps = { group: "", version: "v1", resource: "configmaps", namespace: "default" };
const events = { ...maps, resource: "events" };
const configMap = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: {} });
const event = (name: string) => ({
  apiVersion: "v1",
  kind: "Event",
  metadata: { name },
  involvedObject: { kind: "Pod", namespace: "default", name: "p" },
  reason: "Test",
  type: "Normal",
});

async function keys(store: MemoryStore): Promise<string[]> {
  const { kvs } = await store.range(Buffer.from("/registry/"), { end: Buffer.from("/registry0"), keysOnly: true });
  return kvs.map((kv) => Buffer.from(kv.key).toString());
}

const answer = async (s: TestApiServer, path: string) => {
  const r = await fetch(`${s.server}${path}`, { tls: { ca: s.ca, ...s.admin } });
  return `${r.status} ${await r.text()}`;
};

test("a resource with a store of its own is written, read, watched, compacted and looked after there", async () => {
  const [main, apart] = [new MemoryStore(), new MemoryStore()];
  await using s = await startApiServer({ store: main, storeOverrides: new Map([["/events", apart]]), compactionInterval: 20 });
  const api = admin(s);
  await api.create(maps, configMap("a"));
  for (const name of ["e1", "e2"]) await api.create(events, event(name));
  expect(await keys(apart)).toEqual(["/registry/events/default/e1", "/registry/events/default/e2"]);
  const kept = await keys(main);
  expect(kept).toContain("/registry/configmaps/default/a");
  expect(kept.filter((key) => key.startsWith("/registry/events/"))).toEqual([]);

  // The newer group is another view of the same objects.
  const list = await api.list({ ...events, group: "events.k8s.io" });
  expect(list.items.map((o) => o.metadata.name)).toEqual(["e1", "e2"]);
  await api.delete({ ...events, name: "e1" });
  const seen: string[] = [];
  for await (const e of api.watch(events, { resourceVersion: list.metadata.resourceVersion! }, AbortSignal.timeout(10_000))) {
    seen.push(`${e.type} ${(e.object as { metadata: { name: string } }).metadata.name}`);
    break;
  }
  expect(seen).toEqual(["DELETED e1"]);

  // Each store has a key of its own by which apiservers agree on a compaction.
  const deadline = performance.now() + 10_000;
  for (const store of [main, apart])
    while ((await store.range(Buffer.from("compact_rev_key"))).count === 0 && performance.now() < deadline) await Bun.sleep(5);
  for (const store of [main, apart]) expect((await store.range(Buffer.from("compact_rev_key"))).count).toBe(1);

  expect(await answer(s, "/livez/etcd-override-0")).toBe("200 ok");
  const range = apart.range.bind(apart);
  apart.range = () => Promise.reject(new Error("no leader"));
  expect(await answer(s, "/livez/etcd-override-0")).toBe("500 internal server error: error getting data from etcd: no leader\n");
  expect(await answer(s, "/readyz/etcd-override-readiness-0")).toStartWith("500 ");
  expect(await answer(s, "/readyz?exclude=etcd&exclude=etcd-readiness")).toBe("200 ok");
  expect(await answer(s, "/livez/etcd")).toBe("200 ok");
  apart.range = range;
});

test("/metrics counts objects and tells the size of each store, unless it is told not to", async () => {
  const [main, apart] = [new MemoryStore(), new MemoryStore()];
  const sized = (store: MemoryStore, dbSize: number) => {
    store.status = async () => ({ revision: 1, dbSize, version: "3.6.0", errors: [] });
    return store;
  };
  const storeOverrides = new Map([["/events", sized(apart, 456)]]);
  await using s = await startApiServer({ store: sized(main, 123), storeOverrides });
  const metrics = await answer(s, "/metrics");
  expect(metrics).toContain('apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 123\n');
  expect(metrics).toContain('apiserver_storage_size_bytes{storage_cluster_id="etcd-1"} 456\n');
  expect(metrics).toMatch(/apiserver_storage_objects\{resource="namespaces"\} 4\n/);
  await using quiet = await startApiServer({ store: sized(new MemoryStore(), 1), sizeInterval: 0, countObjects: false });
  const less = await answer(quiet, "/metrics");
  expect(less).not.toContain("apiserver_storage_size_bytes{");
  expect(less).not.toContain("apiserver_storage_objects{");
});

test.skipIf(noEtcd !== undefined)(
  "with one member of three etcds dead, whichever, requests and watches go on, and nothing acknowledged is lost",
  async () => {
    await using etcds = await startEtcdMembers(3);
    const store = new EtcdClient({ endpoints: etcds.endpoints });
    try {
      await using s = await startApiServer({ store });
      const api = admin(s);
      const seen: string[] = [];
      const stop = new AbortController();
      const watching = (async () => {
        for await (const e of api.watch<ReturnType<typeof configMap>>(maps, { resourceVersion: "0" }, stop.signal)) {
          if (e.type === "ADDED") seen.push(e.object.metadata.name);
        }
      })();
      const acknowledged: string[] = [];
      for (let dead = 0; dead < 3; dead++) {
        await etcds.kill(dead);
        for (let i = 0; i < 15; i++) {
          const name = `m${dead}-${i}`;
          for (const until = performance.now() + 30_000; ; ) {
            // A write whose end is not known, or that came while members elect a leader, is the client's to repeat.
            const outcome = await api.create(maps, configMap(name)).then(
              () => "stored",
              (e: { reason?: string; message: string }) => (e.reason === "AlreadyExists" ? "stored" : e.message),
            );
            if (outcome === "stored") break;
            if (performance.now() > until) throw new Error(outcome);
          }
          acknowledged.push(name);
        }
        expect((await api.list(maps)).items.map((o) => o.metadata.name).sort()).toEqual([...acknowledged].sort());
        expect(await answer(s, "/readyz")).toBe("200 ok");
        etcds.start(dead);
        const health = () =>
          fetch(`${etcds.endpoints[dead]}/health`).then(
            (r) => r.ok,
            () => false,
          );
        for (const until = performance.now() + 30_000; !(await health()); await Bun.sleep(20))
          if (performance.now() > until) throw new Error("the member does not come back");
      }
      for (const until = performance.now() + 20_000; seen.length < acknowledged.length && performance.now() < until; ) await Bun.sleep(5);
      expect(seen).toEqual(acknowledged);
      stop.abort();
      await watching.catch(() => {});
    } finally {
      await store.close();
    }
  },
  120_000,
);
