import { afterEach, beforeEach, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { nodes } from "../../client/resources.ts";
import { logger } from "../../platform/log.ts";
import type { Cri } from "../cri/client.ts";
import { KubeletTestApi } from "../testing/api.ts";
import { NodeAgent } from "./agent.ts";
import { machine } from "./machine.ts";

const target = { ...nodes, name: "n1" };
const cri = {
  runtime: { status: async () => ({ runtimeHandlers: [] }) },
  image: { listImages: async () => ({ images: [] }) },
} as unknown as Cri;

let api: KubeletTestApi;
let agent: NodeAgent;
beforeEach(async () => {
  api = new KubeletTestApi();
  agent = new NodeAgent({
    transport: api,
    cri,
    events: { event() {} },
    log: logger("agent-test"),
    machine: machine(),
    name: "n1",
    ips: ["10.0.0.1"],
    labels: {},
    taints: [],
    register: true,
    maxPods: 110,
    rootDir: tmpdir(),
    port: () => 10250,
    runtimeVersion: "test://1",
    problems: () => [],
  });
  await agent.start();
  await agent.update();
});
afterEach(() => agent.stop());

const conditions = async () => (await api.get<coreV1.Node>(target)).status!.conditions!;
const ready = async () => (await conditions()).find((c) => c.type === "Ready")!.status;
/** What another client makes of the node's conditions. */
const write = async (change: (c: coreV1.NodeCondition[]) => coreV1.NodeCondition[]) => {
  const node = await api.get<coreV1.Node>(target);
  await api.update(
    { ...target, subresource: "status" },
    { ...node, status: { ...node.status, conditions: change(node.status!.conditions!) } },
  );
};

test("a node that was said to be silent is Ready with the next look, though nothing of it changed", async () => {
  expect(await ready()).toBe("True");
  await write((all) => all.map((c) => ({ ...c, status: "Unknown", reason: "NodeStatusUnknown" })));
  await agent.update();
  expect(await ready()).toBe("True");
});

test("a node of which nothing changed is not written, however its conditions are ordered", async () => {
  await write((all) => {
    const others = all.map(({ type, status, ...c }) => ({ ...c, status, type })).reverse();
    return [{ type: "NetworkUnavailable", status: "False" }, ...others];
  });
  const { length } = api.writes;
  await agent.update();
  expect(api.writes.slice(length).filter((w) => w.target.resource === "nodes")).toEqual([]);
  expect((await conditions()).length).toBe(5);
});
