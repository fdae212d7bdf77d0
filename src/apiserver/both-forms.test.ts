// A store whose values were written as JSON, and later in upstream's protobuf.
import { expect, test } from "bun:test";
import type { ApiTransport } from "../client/transport.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { MemoryStore } from "../testing/memory-store.ts";

const maps = { group: "", version: "v1", resource: "configmaps", namespace: "default" };
const map = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { a: "", b: "ü" } });
const admin = (s: TestApiServer): ApiTransport => s.api.transport({ name: "admin", groups: ["system:masters"] });

test("values of both forms are read whichever is written, and a write turns one into the other", async () => {
  const store = new MemoryStore();
  const begins = async (name: string) =>
    Buffer.from((await store.range(Buffer.from(`/registry/configmaps/default/${name}`))).kvs[0]!.value.subarray(0, 4)).toString();
  {
    await using before = await startApiServer({ store, storageMediaType: "application/json" });
    for (const name of ["one", "two"]) await admin(before).create(maps, map(name));
    expect(await begins("one")).toBe('{"ki');
  }
  await using after = await startApiServer({ store, storageMediaType: "application/vnd.kubernetes.protobuf" });
  const api = admin(after);
  await api.create(maps, map("three"));
  expect([await begins("one"), await begins("three")]).toEqual(['{"ki', "k8s\0"]);
  const { items } = await api.list<ReturnType<typeof map>>(maps);
  expect(items.map((o) => [o.metadata.name, o.data])).toEqual(["one", "three", "two"].map((name) => [name, { a: "", b: "ü" }]));
  await api.patch({ ...maps, name: "one" }, "merge", { data: { c: "3" } });
  expect(await begins("one")).toBe("k8s\0");
  await using back = await startApiServer({ store, storageMediaType: "application/json" });
  expect((await admin(back).get<ReturnType<typeof map>>({ ...maps, name: "one" })).data).toEqual({ a: "", b: "ü", c: "3" } as never);
});
