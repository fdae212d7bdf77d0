import { describe, expect, test } from "bun:test";
import type * as core from "../gen/core/v1.ts";
import { kinds } from "../schema.ts";
import { humanDuration } from "./column.ts";
import { tableColumns, tableRow } from "./mod.ts";

describe("humanDuration", () => {
  const second = 1000;
  const rows: [milliseconds: number, text: string][] = [
    [-5 * second, "<invalid>"],
    [-1 * second, "0s"],
    [0, "0s"],
    [119 * second, "119s"],
    [120 * second, "2m"],
    [150 * second, "2m30s"],
    [600 * second, "10m"],
    [3 * 3600 * second, "3h"],
    [(3 * 3600 + 61) * second, "3h1m"],
    [9 * 3600 * second, "9h"],
    [49 * 3600 * second, "2d1h"],
    [8 * 86_400 * second, "8d"],
    [3 * 365 * 86_400 * second, "3y"],
  ];
  for (const [ms, text] of rows) test(`shows ${ms} ms as ${text}`, () => expect(humanDuration(ms)).toBe(text));
});

const running = (ready: boolean, restartCount = 0): core.ContainerStatus =>
  ({ name: "c", ready, restartCount, image: "", imageID: "", state: { running: {} } }) as core.ContainerStatus;
const waiting = (reason: string): core.ContainerStatus => ({ ...running(false), state: { waiting: { reason } } });
const ended = (exitCode: number, reason = ""): core.ContainerStatus =>
  ({ ...running(false), state: { terminated: { exitCode, reason } } }) as core.ContainerStatus;

const pod = (status: core.PodStatus, more: Partial<core.Pod> = {}, spec: Partial<core.PodSpec> = {}): core.Pod => ({
  metadata: { name: "p" },
  spec: { containers: [{ name: "c" }], ...spec } as core.PodSpec,
  status,
  ...more,
});

describe("a pod's status", () => {
  const rows: [title: string, pod: core.Pod, ready: string, status: string][] = [
    ["waiting for a node", pod({ phase: "Pending" }), "0/1", "Pending"],
    ["being made", pod({ phase: "Pending", containerStatuses: [waiting("ContainerCreating")] }), "0/1", "ContainerCreating"],
    ["running", pod({ phase: "Running", containerStatuses: [running(true)] }), "1/1", "Running"],
    ["running, not ready", pod({ phase: "Running", containerStatuses: [running(false)] }), "0/1", "Running"],
    ["crashing", pod({ phase: "Running", containerStatuses: [waiting("CrashLoopBackOff")] }), "0/1", "CrashLoopBackOff"],
    ["done", pod({ phase: "Succeeded", containerStatuses: [ended(0, "Completed")] }), "0/1", "Completed"],
    ["failed without a reason", pod({ phase: "Failed", containerStatuses: [ended(3)] }), "0/1", "ExitCode:3"],
    [
      "being deleted",
      pod({ phase: "Running", containerStatuses: [running(true)] }, { metadata: { name: "p", deletionTimestamp: "2026-01-01T00:00:00Z" } }),
      "1/1",
      "Terminating",
    ],
    [
      "initializing",
      pod(
        { phase: "Pending", initContainerStatuses: [{ ...running(false), name: "i" }], containerStatuses: [waiting("PodInitializing")] },
        {},
        { initContainers: [{ name: "i" }] as core.Container[] },
      ),
      "0/1",
      "Init:0/1",
    ],
    [
      "failing to initialize",
      pod(
        { phase: "Pending", initContainerStatuses: [{ ...ended(1, "Error"), name: "i" }] },
        {},
        { initContainers: [{ name: "i" }] as core.Container[] },
      ),
      "0/1",
      "Init:Error",
    ],
  ];
  for (const [title, object, ready, status] of rows) {
    test(title, () => expect(tableRow({ group: "", kind: "Pod" }, object).cells.slice(1, 3)).toEqual([ready, status]));
  }
});

test("every kind's row has a cell for each column", () => {
  // Fields that a printer reads without asking are there in every stored object.
  const object = { metadata: { name: "x" }, spec: { scaleTargetRef: {}, source: {}, containers: [] }, roleRef: {}, involvedObject: {} };
  for (const kind of kinds) expect(tableRow(kind, object).cells.length, kind.kind).toBe(tableColumns(kind).length);
});
