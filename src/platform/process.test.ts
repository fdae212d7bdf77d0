import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { alive, identify } from "./process.ts";

const stateOf = (pid: number) => /^.*\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))![1];

async function until(what: string, state: () => boolean): Promise<void> {
  for (const end = performance.now() + 20_000; !state(); await Bun.sleep(5)) {
    if (performance.now() > end) throw new Error(`not in 20 s: ${what}`);
  }
}

test("a process whose first thread has ended runs until the others have, and is gone then, whether or not its parent knows", async () => {
  // Only the first thread ends: exit(2) as the kernel has it, not the library's.
  const number = process.arch === "arm64" ? 93 : 60;
  const script = `
    const { dlopen } = require("bun:ffi");
    new Worker("data:text/javascript,setInterval(() => {}, 1000); postMessage(0)").onmessage = () => {
      dlopen("libc.so.6", { syscall: { args: ["i64", "i64"], returns: "i64" } }).symbols.syscall(${number}, 0);
    };`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "ignore" });
  try {
    const id = identify(child.pid)!;
    await until("the first thread to end", () => stateOf(child.pid) === "Z");
    expect(alive(id)).toBe(true);
    child.kill("SIGKILL");
    await until("all to end", () => !alive(id));
  } finally {
    child.kill("SIGKILL");
  }
  await child.exited;
  expect(identify(child.pid)).toBeUndefined();
}, 60_000);
