// Starts a detached `up` again when it was killed. Whoever ends it on purpose
// says so before, by a file.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { logger } from "../../platform/log.ts";
import { restartDelay, SETTLED } from "./process-group.ts";
import { type ClusterFile, type DataDir, isRunning, processStartTime } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

const log = logger("balancer");
/** Milliseconds between two looks. */
const INTERVAL = 250;

const marker = (cluster: Pick<ClusterFile, "runDir">) => join(cluster.runDir, "ending");

/** From now on nobody starts `up` again. */
export function markEnding(cluster: Pick<ClusterFile, "runDir">): void {
  if (existsSync(cluster.runDir)) writeFileSync(marker(cluster), "");
}
export const unmarkEnding = (cluster: Pick<ClusterFile, "runDir">): void => rmSync(marker(cluster), { force: true });

/** Watches the process that has the data directory open until the signal comes. */
export async function guard(dir: DataDir, restart: NonNullable<UpOptions["restart"]>, signal: AbortSignal): Promise<void> {
  const lost = () => {
    const cluster = dir.read();
    // Without a pid it was taken down.
    const wanted = cluster?.pid !== undefined && existsSync(cluster.runDir) && !existsSync(marker(cluster));
    return wanted && !isRunning(cluster) ? cluster : undefined;
  };
  let failures = 0;
  for (let started = 0; !signal.aborted; await Bun.sleep(INTERVAL)) {
    if (!lost()) continue;
    failures = performance.now() - started > SETTLED ? 0 : failures + 1;
    if (failures > 0) await Bun.sleep(restartDelay(failures));
    const cluster = lost();
    if (!cluster || signal.aborted) continue;
    log.warn("The process of up ended; starting it again", { pid: cluster.pid });
    started = performance.now();
    const pid = spawnUp(dir, restart);
    // On record at once, so that nobody starts another.
    if (pid !== undefined) dir.write({ ...cluster, pid, startTime: processStartTime(pid) ?? "" });
  }
}

function spawnUp(dir: DataDir, { command, cwd }: NonNullable<UpOptions["restart"]>): number | undefined {
  const output = openSync(dir.file("log/kubun.log"), "a", 0o600);
  const [program, ...args] = command;
  const child = spawn(program!, args, { cwd, detached: true, stdio: ["ignore", "ignore", output] });
  closeSync(output);
  child.on("error", (error) => log.error("It could not be started", error));
  child.unref();
  return child.pid;
}
