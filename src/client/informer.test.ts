import { afterEach, expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { gone, internalError } from "../api/status.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { InformerFactory } from "./informer.ts";
import { configMaps, keyOf, pods, resource } from "./resources.ts";
import type { ApiTransport, WatchEvent } from "./transport.ts";

const factories: InformerFactory[] = [];
afterEach(async () => {
  for (const f of factories.splice(0)) await f.stop();
});
const factory = (api: ApiTransport, streamInitial = false) => {
  const f = new InformerFactory(api, { streamInitial, log: { info() {}, warn() {}, error() {} } });
  factories.push(f);
  return f;
};

async function until(look: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!look()) {
    if (Date.now() > deadline) throw new Error("never happened");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const map = (name: string, labels: Record<string, string> = {}): coreV1.ConfigMap => ({ metadata: { name, namespace: "default", labels } });

test("tells of what is there, then of each change, in order, and shares the objects themselves", async () => {
  const api = new MemoryApi();
  const maps = resource(api, configMaps, "default");
  const a = await maps.create(map("a"));
  const f = factory(api);
  const informer = f.for(configMaps);
  const told: string[] = [];
  informer.on({
    add: (o, initial) => told.push(`add ${o.metadata.name} ${initial}`),
    update: (before, after) => told.push(`update ${before.metadata.resourceVersion}→${after.metadata.resourceVersion}`),
    delete: (o, { stale }) => told.push(`delete ${o.metadata.name} ${stale}`),
  });
  f.start();
  await f.synced();
  expect(informer.lister.get("default/a")).toBe(a);
  await maps.create(map("b"));
  await maps.patch("a", "merge", { data: { x: "1" } });
  await maps.delete("b");
  await until(() => told.length === 4);
  expect(told).toEqual(["add a true", "add b false", "update 1→3", "delete b false"]);
  expect(f.for(configMaps)).toBe(informer);
});

test("finds by namespace and by index, also when labels move an object", async () => {
  const api = new MemoryApi();
  const f = factory(api);
  const informer = f.for(configMaps).addIndex("app", (m) => (m.metadata.labels?.app ? [m.metadata.labels.app] : []));
  f.start();
  await f.synced();
  const maps = resource(api, configMaps, "default");
  await maps.create(map("a", { app: "x" }));
  await maps.create(map("b", { app: "x" }));
  await until(() => informer.lister.byIndex("app", "x").length === 2);
  await maps.patch("a", "merge", { metadata: { labels: { app: "y" } } });
  await until(() => informer.lister.byIndex("app", "y").length === 1);
  expect(informer.lister.byIndex("app", "x").map(keyOf)).toEqual(["default/b"]);
  expect(informer.lister.list("default").length).toBe(2);
  expect(informer.lister.list("other")).toEqual([]);
  expect(() => informer.lister.byIndex("none", "x")).toThrow(RangeError);
});

test("a handler added later hears of all that is there, and one that throws does not keep others from hearing", async () => {
  const api = new MemoryApi();
  await resource(api, configMaps, "default").create(map("a"));
  const f = factory(api);
  const informer = f.for(configMaps);
  informer.on({
    add: () => {
      throw new Error("a bug");
    },
  });
  f.start();
  await f.synced();
  const seen: string[] = [];
  informer.on({ add: (o) => seen.push(keyOf(o)) });
  expect(seen).toEqual(["default/a"]);
});

test("lists again when its version is gone, and tells what it missed, deletions as stale", async () => {
  const api = new MemoryApi();
  const maps = resource(api, configMaps, "default");
  for (const name of ["kept", "changed", "lost"]) await maps.create(map(name));
  let cut = Promise.withResolvers<never>();
  let broken = false;
  const flaky: ApiTransport = Object.create(api, {
    watch: {
      value: async function* (...args: Parameters<ApiTransport["watch"]>): AsyncGenerator<WatchEvent> {
        if (broken) throw gone("too old resource version");
        const events = api.watch(args[0], args[1], args[2])[Symbol.asyncIterator]();
        for (;;) {
          const next = await Promise.race([events.next(), cut.promise]);
          if (next.done) return;
          yield next.value as WatchEvent;
        }
      },
    },
    list: { value: (...args: Parameters<ApiTransport["list"]>) => api.list(...args) },
  });
  const f = factory(flaky);
  const informer = f.for(configMaps);
  const told: string[] = [];
  informer.on({
    add: (o, initial) => told.push(`add ${o.metadata.name} ${initial}`),
    update: (_, o) => told.push(`update ${o.metadata.name}`),
    delete: (o, { stale }) => told.push(`delete ${o.metadata.name} ${stale}`),
  });
  f.start();
  await f.synced();
  told.length = 0;
  broken = true;
  cut.reject(gone("the store compacted it"));
  await maps.patch("changed", "merge", { data: {}, metadata: { labels: { x: "y" } } });
  await maps.delete("lost");
  await maps.create(map("new"));
  cut = Promise.withResolvers<never>();
  broken = false;
  await until(() => told.length === 3);
  expect(told).toEqual(["delete lost true", "update changed", "add new false"]);
});

test("streams its first state where the server can, and lists where it can't", async () => {
  const seen: string[] = [];
  const object = (name: string, version: string) => ({ metadata: { name, namespace: "default", resourceVersion: version, uid: name } });
  const streaming = {
    list: () => {
      throw new Error("should not list");
    },
    async *watch(_: unknown, options: { sendInitialEvents?: boolean }, signal: AbortSignal) {
      expect(options.sendInitialEvents).toBe(true);
      yield { type: "ADDED", object: object("a", "1") };
      yield { type: "ADDED", object: object("b", "2") };
      expect(seen).toEqual([]);
      yield { type: "BOOKMARK", object: { metadata: { resourceVersion: "5", annotations: { "k8s.io/initial-events-end": "true" } } } };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  } as unknown as ApiTransport;
  const f = factory(streaming, true);
  const informer = f.for(pods);
  informer.on({ add: (o, initial) => seen.push(`${o.metadata.name} ${initial}`) });
  f.start();
  await f.synced();
  expect(seen).toEqual(["a true", "b true"]);
  expect(informer.resourceVersion).toBe("5");

  const api = new MemoryApi();
  await resource(api, pods, "default").create({ metadata: { name: "p" }, spec: { containers: [] } });
  const old = Object.create(api, {
    watch: {
      value: (target: never, options: { sendInitialEvents?: boolean }, signal: AbortSignal) => {
        if (options.sendInitialEvents) throw Object.assign(gone("x"), { status: { code: 422, reason: "Invalid" } });
        return api.watch(target, options, signal);
      },
    },
    list: { value: (...args: Parameters<ApiTransport["list"]>) => api.list(...args) },
  }) as ApiTransport;
  const g = factory(old, true);
  g.start();
  const i = g.for(pods);
  await i.synced;
  expect(i.lister.size).toBe(1);
});

test("tells of an apiserver that is away, and of its return", async () => {
  const api = new MemoryApi();
  let away = true;
  const flaky = Object.create(api, {
    list: {
      value: async (...args: Parameters<ApiTransport["list"]>) => {
        if (away) throw internalError("no leader");
        return api.list(...args);
      },
    },
  }) as ApiTransport;
  const f = factory(flaky);
  f.for(pods);
  f.start();
  await until(() => f.trouble !== undefined);
  expect(f.trouble).toContain("list of pods: Internal error occurred: no leader");
  away = false;
  await f.synced();
  expect(f.trouble).toBeUndefined();
});

test("whatever happens to the objects, the cache ends up as the apiserver is", async () => {
  const step = fc.record({ name: fc.constantFrom("a", "b", "c", "d"), op: fc.constantFrom("create", "patch", "delete"), value: fc.nat(9) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const api = new MemoryApi();
      const f = factory(api);
      const informer = f.for(configMaps);
      const mirror = new Map<string, coreV1.ConfigMap>();
      informer.on({
        add: (o) => void mirror.set(keyOf(o), o),
        update: (before, after) => {
          expect(mirror.get(keyOf(after))).toBe(before);
          mirror.set(keyOf(after), after);
        },
        delete: (o) => void mirror.delete(keyOf(o)),
      });
      f.start();
      const maps = resource(api, configMaps, "default");
      for (const { name, op, value } of steps) {
        const write =
          op === "create"
            ? maps.create(map(name))
            : op === "delete"
              ? maps.delete(name)
              : maps.patch(name, "merge", { data: { v: String(value) } });
        await write.catch(() => undefined); // Refused where there is nothing, or something, of that name.
        if (value === 0) await f.synced();
      }
      await f.synced();
      const truth = (await maps.list()).items;
      await until(() => mirror.size === truth.length && truth.every((o) => mirror.get(keyOf(o)) === o));
      await f.stop();
    }),
    { numRuns: 30 },
  );
});
