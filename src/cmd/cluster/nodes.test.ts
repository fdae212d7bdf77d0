import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { nodeHomes, nodeName, podCidrOf } from "./nodes.ts";
import { restartDelay } from "./process-group.ts";
import { DataDir } from "./state.ts";

test("the first node has the machine's name, the others a number behind it", () => {
  const name = hostname().toLowerCase();
  expect([nodeName(0), nodeName(1), nodeName(9)]).toEqual([name, `${name}-2`, `${name}-10`]);
});

test("each node has a /24 of the pod network, and too small a network is told", () => {
  expect([podCidrOf("10.244.0.0/16", 0), podCidrOf("10.244.0.0/16", 255)]).toEqual(["10.244.0.0/24", "10.244.255.0/24"]);
  expect(() => podCidrOf("10.244.0.0/23", 2)).toThrow("--pod-cidr 10.244.0.0/23 has no /24 left for node 3");
});

test("the data directory tells which nodes there were", () => {
  const path = mkdtempSync(join(tmpdir(), "kubun-nodes-"));
  try {
    for (const name of ["node", "node3", "node10", "log", "nodes", "node1x"]) mkdirSync(join(path, name));
    const homes = nodeHomes(new DataDir(path), { id: "0badcafe", runDir: "/run/kubun/0badcafe" });
    expect(homes.map((h) => [h.index, h.dir, h.runDir, h.cgroupRoot])).toEqual([
      [0, join(path, "node"), "/run/kubun/0badcafe", "/kubun-0badcafe"],
      [2, join(path, "node3"), "/run/kubun/0badcafe/n3", "/kubun-0badcafe/node3"],
      [9, join(path, "node10"), "/run/kubun/0badcafe/n10", "/kubun-0badcafe/node10"],
    ]);
    expect(nodeHomes(new DataDir(join(path, "absent")), { id: "0badcafe", runDir: "/" })).toEqual([]);
  } finally {
    rmSync(path, { recursive: true });
  }
});

test("a node that keeps ending is started less and less often, up to twice a minute", () => {
  expect([0, 1, 2, 8, 9, 100].map(restartDelay)).toEqual([100, 200, 400, 25_600, 30_000, 30_000]);
});
