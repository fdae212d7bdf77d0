import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenDatagrams } from "../testing/datagrams.ts";
import { setLogWriter } from "./log.ts";
import { notify } from "./systemd.ts";

test("a state comes to the socket that systemd names, in the file system or an abstract one", () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-systemd-"));
  try {
    const abstract = `kubun-${process.pid}-${Math.floor(Math.random() * 2 ** 40)}`;
    for (const [bound, named] of [
      [join(dir, "notify"), join(dir, "notify")],
      [`\0${abstract}`, `@${abstract}`],
    ] as const) {
      using socket = listenDatagrams(bound);
      notify("READY=1", named);
      notify("STOPPING=1", named);
      expect([socket.next(), socket.next(), socket.next()]).toEqual(["READY=1", "STOPPING=1", undefined]);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("that nobody listens is said, and ends nothing", () => {
  const lines: string[] = [];
  const restore = setLogWriter((line) => lines.push(line));
  try {
    notify("READY=1", "/nowhere/at/all");
    notify("READY=1", `/${"x".repeat(200)}`);
  } finally {
    restore();
  }
  expect(lines).toEqual([expect.stringContaining("Could not notify systemd"), expect.stringContaining("Could not notify systemd")]);
});
