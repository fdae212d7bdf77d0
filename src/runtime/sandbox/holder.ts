// The process that keeps a shared PID namespace alive: the pause program as a
// container of its own, with nothing else in its root.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identify, type ProcessId } from "../../platform/process.ts";
import { lastMessage, type OciRuntime } from "../oci/runtime.ts";
import type { OciSpec } from "../oci/types.ts";
import { pauseProgram } from "../pause.ts";

const bundle = (dir: string) => join(dir, "holder");

/** Starts it; its name is the sandbox's ID. */
export async function startHolder(runtime: OciRuntime, id: string, dir: string, cgroupPath: string): Promise<ProcessId> {
  const rootfs = join(bundle(dir), "rootfs");
  mkdirSync(rootfs, { recursive: true });
  writeFileSync(join(rootfs, "pause"), pauseProgram(), { mode: 0o755 });
  const spec: OciSpec = {
    ociVersion: "1.0.2",
    process: { user: { uid: 0, gid: 0 }, args: ["/pause"], env: [], cwd: "/", noNewPrivileges: true },
    root: { path: rootfs, readonly: true },
    mounts: [{ destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] }],
    linux: { namespaces: [{ type: "mount" }, { type: "pid" }], cgroupsPath: cgroupPath, resources: {} },
  };
  mkdirSync(join(rootfs, "proc"), { recursive: true });
  writeFileSync(join(bundle(dir), "config.json"), JSON.stringify(spec));
  const pidFile = join(bundle(dir), "pid");
  const child = Bun.spawn(runtime.command("create", "--bundle", bundle(dir), "--pid-file", pidFile, id), {
    stdio: ["ignore", "ignore", Bun.file(join(bundle(dir), "log"))],
  });
  if ((await child.exited) !== 0) {
    throw new Error(`can't make the pod's PID namespace: ${lastMessage(readFileSync(join(bundle(dir), "log"), "utf8"))}`);
  }
  const holder = identify(Number(readFileSync(pidFile, "utf8")));
  if (holder === undefined) throw new Error("the first process of the pod's PID namespace ended at once");
  await runtime.start(id, holder);
  return holder;
}

export async function removeHolder(runtime: OciRuntime, id: string, dir: string): Promise<void> {
  await runtime.delete(id);
  rmSync(bundle(dir), { recursive: true, force: true });
}
