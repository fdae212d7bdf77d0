import { expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { isNotFound } from "../api/status.ts";
import { pods } from "../client/resources.ts";
import { logger } from "../platform/log.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { MirrorPods, staticPod } from "./config/static-pods.ts";
import { MirrorKeeper } from "./mirrors.ts";
import { StatusManager } from "./status-manager.ts";

const log = logger("mirrors-test");
const pod = staticPod(
  { apiVersion: "v1", kind: "Pod", metadata: { name: "s" }, spec: { containers: [{ name: "c", image: "i" }] } },
  "n1",
  "s.yaml",
);
const target = { ...pods, namespace: "default", name: "s-n1" };

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error("not in time");
    await Bun.sleep(5);
  }
}

test("a mirror that the apiserver refuses to make or to delete once is made or deleted at the next try", async () => {
  const api = new MemoryApi();
  const statuses = new StatusManager(api, log);
  const keeper = new MirrorKeeper(new MirrorPods(api, () => undefined, log), statuses, "n1");
  const refusals: string[] = [];
  api.refuse = (verb) => {
    if (refusals.includes(verb)) return;
    refusals.push(verb);
    throw new Error(`no ${verb} yet`);
  };
  try {
    keeper.putStatic(pod);
    keeper.synced();
    const mirror = await eventually(() => api.get<coreV1.Pod>(target).catch(() => undefined));
    keeper.putMirror(mirror);
    keeper.deleteStatic(pod);
    expect(await eventually(() => api.get(target).then(() => undefined, isNotFound))).toBe(true);
    expect(refusals).toContain("create");
    expect(refusals).toContain("delete");
  } finally {
    keeper.stop();
    await statuses.stop();
  }
});
