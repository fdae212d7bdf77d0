// @kubernetes/client-node, the client that Node programs use, run by Node.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { run, TestCluster } from "./support/cluster.ts";
import { BOX, buildBox } from "./support/images.ts";

const node = Bun.which("node");
if (!node) console.log("skipped: @kubernetes/client-node is tested with Node, which is not on PATH");

let cluster: TestCluster;
beforeAll(async () => {
  if (!node) return;
  cluster = await TestCluster.up();
  await buildBox(cluster);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

const parts: [part: string, title: string][] = [
  ["crud", "create, read, list, replace, patch and delete"],
  ["watch", "watch sees each change in order"],
  ["informer", "an informer keeps up"],
  ["exec", "exec, and logs read and followed"],
];
for (const [part, title] of parts) {
  test.skipIf(!node)(title, async () => {
    const r = await run([node!, join(import.meta.dirname, "support/client-node.mjs"), part], {
      env: { ...cluster.env(), BOX },
      timeout: 60_000,
    });
    expect(r.code, r.stderr).toBe(0);
  });
}
