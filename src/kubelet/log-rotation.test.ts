import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { logger } from "../platform/log.ts";
import type { Cri } from "./cri/client.ts";
import type { Pleg } from "./cri/pleg.ts";
import { LogRotation, plan } from "./log-rotation.ts";
import { container, exited, runtimePod } from "./testing/pods.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "rotation-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("keeps as many files as asked, the older ones compressed", () => {
  const files = ["0.log.20260101-000001.gz", "0.log.20260101-000002.gz", "0.log.20260101-000003"];
  expect(plan(files, 5)).toEqual({ remove: [], compress: ["0.log.20260101-000003"] });
  expect(plan(files, 3)).toEqual({ remove: files.slice(0, 2), compress: ["0.log.20260101-000003"] });
});

test("a full log is rotated, and one that a killed kubelet left renamed is opened anew", async () => {
  const path = (name: string) => join(dir, `${name}.log`);
  const containers = ["full", "short", "lost"].map((name) => container(name, { id: name, logPath: path(name) }));
  containers.push(exited("gone", 0, { id: "gone", logPath: path("gone") }));
  writeFileSync(path("full"), "0123456789");
  writeFileSync(path("short"), "0");
  writeFileSync(`${path("lost")}.20260101-000001`, "before");
  const reopened: string[] = [];
  const runtime = {
    reopenContainerLog: async ({ containerId }: { containerId: string }) => {
      reopened.push(containerId);
      writeFileSync(path(containerId), "");
    },
  };
  const rotation = new LogRotation({
    cri: { runtime } as unknown as Cri,
    pleg: { all: new Map([["u1", runtimePod([], containers)]]) } as unknown as Pleg,
    log: logger("rotation-test"),
    maxSize: 10,
    maxFiles: 3,
  });
  await rotation.rotateAll();
  await rotation.rotateAll();
  expect(reopened).toEqual(["full", "lost"]);
  expect(readdirSync(dir).filter((f) => f.startsWith("full")).length).toBe(2);
  expect(readFileSync(`${path("lost")}.20260101-000001`, "utf8")).toBe("before");
});
