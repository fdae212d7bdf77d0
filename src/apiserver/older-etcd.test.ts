// Two apiservers on one real etcd, beside somebody who writes elsewhere in it.
// Debian's is older than those that tell at once how far a watch is.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { EtcdClient } from "../client/etcd-grpc.ts";
import type { ApiTransport } from "../client/transport.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { noEtcd, type RealEtcd, startEtcd } from "../testing/etcd.ts";

if (noEtcd) console.log(`skipped: ${noEtcd}`);

const maps = { group: "", version: "v1", resource: "configmaps", namespace: "default" };
const configMap = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: {} });

/** Counts how often a client is asked for progress, and how far its store can't say so at once. */
function counted(client: EtcdClient): { client: EtcdClient; asked: number; atOnce: () => boolean } {
  const result = { client, asked: 0, atOnce: () => true };
  const watch = client.watch.bind(client);
  client.watch = (...args) => {
    const made = watch(...args);
    result.atOnce = () => made.progressAtOnce;
    const request = made.requestProgress.bind(made);
    made.requestProgress = () => {
      result.asked++;
      request();
    };
    return made;
  };
  return result;
}

describe.skipIf(noEtcd !== undefined)("an apiserver on an older etcd", () => {
  let etcd: RealEtcd;
  let servers: TestApiServer[];
  let apis: ApiTransport[];
  let seen: ReturnType<typeof counted>;
  let old: boolean;
  const ends: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    etcd = await startEtcd();
    old = /^3\.(4\.(\d|1\d|2[0-4])|5\.[0-7])$/.test((await etcd.client().status()).version);
    seen = counted(etcd.client());
    servers = [await startApiServer({ store: etcd.client() }), await startApiServer({ store: seen.client })];
    apis = servers.map((s) => s.api.transport({ name: "admin", uid: "", groups: ["system:masters"], extra: {} }));
    // Somebody else's keys, all the time.
    const stranger = etcd.client();
    let writing = true;
    const done = (async () => {
      for (let i = 0; writing; i++)
        await stranger.txn([], [{ type: "put", key: Buffer.from("/elsewhere"), value: Buffer.from(String(i)) }]);
    })();
    ends.push(async () => {
      writing = false;
      await done;
    });
  }, 30_000);
  afterAll(async () => {
    for (const end of ends) await end();
    for (const s of servers ?? []) await s[Symbol.asyncDispose]();
    await etcd?.[Symbol.asyncDispose]();
  });

  const names = async (options = {}) => (await apis[1]!.list(maps, options)).items.map((o) => o.metadata.name);

  test("lists what the other has been told is stored, and nothing that was deleted, without asking for progress", async () => {
    expect(await names()).toEqual([]);
    if (!old) return;
    // Until the member has told its version.
    while (seen.atOnce()) await names();
    const before = seen.asked;
    for (let i = 0; i < 40; i++) {
      await apis[0]!.create(maps, configMap(`a${i}`));
      expect(await names()).toContain(`a${i}`);
      expect(await names({ fieldSelector: `metadata.name=a${i}` })).toEqual([`a${i}`]);
      if (i % 2) await apis[0]!.delete({ ...maps, name: `a${i}` });
      expect((await names()).includes(`a${i}`)).toBe(i % 2 === 0);
    }
    expect(seen.asked - before).toBe(0);
  });

  test("pages through a list as of the revision of its first page", async () => {
    const all = await names();
    const first = await apis[1]!.list(maps, { limit: 3 });
    expect(first.items.map((o) => o.metadata.name)).toEqual(all.slice(0, 3));
    expect(first.metadata.remainingItemCount).toBe(all.length - 3);
    await apis[0]!.create(maps, configMap("zz"));
    const rest = await apis[1]!.list(maps, { limit: 500, continue: first.metadata.continue });
    expect(rest.items.map((o) => o.metadata.name)).toEqual(all.slice(3));
    expect(rest.metadata.resourceVersion).toBe(first.metadata.resourceVersion!);
    expect(await names()).toEqual([...all, "zz"]);
  });

  test("starts a watch from now with what is there, and follows", async () => {
    await apis[0]!.create(maps, configMap("watched"));
    const events: string[] = [];
    for await (const e of apis[1]!.watch(maps, { fieldSelector: "metadata.name=watched" }, AbortSignal.timeout(20_000))) {
      events.push(e.type);
      if (e.type === "DELETED") break;
      await apis[0]!.delete({ ...maps, name: "watched" });
    }
    expect(events).toEqual(["ADDED", "DELETED"]);
  });
});
