import { expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { applyStrategicMergePatch } from "../api/patch/strategic.ts";
import { statusPatch } from "./status-patch.ts";

const before: coreV1.PodStatus = {
  phase: "Pending",
  message: "old",
  podIPs: [{ ip: "10.0.0.1" }],
  podIP: "10.0.0.1",
  nominatedNodeName: "n",
  conditions: [
    { type: "Ready", status: "False", reason: "ContainersNotReady", message: "x" },
    { type: "PodScheduled", status: "True" },
  ],
  containerStatuses: [{ name: "a", ready: false, restartCount: 0, image: "", imageID: "", state: { waiting: { reason: "x" } } }],
};
const after: coreV1.PodStatus = {
  phase: "Running",
  podIPs: [{ ip: "10.0.0.2" }],
  podIP: "10.0.0.2",
  conditions: [
    { type: "Ready", status: "True" },
    { type: "PodScheduled", status: "True" },
  ],
  containerStatuses: [{ name: "a", ready: true, restartCount: 0, image: "", imageID: "", state: { running: {} } }],
};

test("a patch holds what changed, and applied gives the new status beside what others wrote", () => {
  const patch = statusPatch(before, after)!;
  expect(patch.conditions).toEqual([{ reason: null, message: null, type: "Ready", status: "True" }]);
  const live = { ...before, conditions: [...before.conditions!, { type: "example.com/gate", status: "True" }] };
  const result = applyStrategicMergePatch({ status: live }, { status: patch }, "k8s.io.api.core.v1.Pod") as { status: coreV1.PodStatus };
  expect(result.status).toMatchObject({
    phase: "Running",
    podIP: "10.0.0.2",
    nominatedNodeName: "n",
    podIPs: [{ ip: "10.0.0.2" }],
    containerStatuses: after.containerStatuses,
  });
  expect(result.status.message).toBeUndefined();
  expect(result.status.conditions?.map((c) => `${c.type}=${c.status}`)).toEqual([
    "Ready=True",
    "PodScheduled=True",
    "example.com/gate=True",
  ]);
});

test("nothing is patched where nothing changed", () => {
  expect(statusPatch(after, { ...after })).toBeUndefined();
});
