import { expect, test } from "bun:test";
import { configMaps } from "../../client/resources.ts";
import { MemoryApi } from "../../testing/memory-api.ts";
import { makePod } from "../testing/pods.ts";
import { ObjectCache } from "./objects.ts";

test("what a pod refers to is named as upstream's kubelet does when it is missing, and found when it comes", async () => {
  const api = new MemoryApi();
  const came = Promise.withResolvers<string>();
  const cache = new ObjectCache(api, came.resolve);
  try {
    const pod = makePod();
    expect(cache.configMap(pod, "absent")).rejects.toThrow('configmap "absent" not found');
    expect(cache.secret(pod, "absent")).rejects.toThrow('secret "absent" not found');
    await cache.configMap(pod, "absent").catch(() => {});
    await api.create({ ...configMaps, namespace: "ns" }, { metadata: { name: "absent" }, data: { a: "b" } });
    expect(await came.promise).toBe("u1");
    expect((await cache.configMap(pod, "absent")).data).toEqual({ a: "b" });
  } finally {
    await cache.stop();
  }
});
