// Undoes everything that the runtimes of one cluster did to the machine. Works
// from names and what is on disk, so it makes no difference whether a runtime
// crashed, or whether its files are whole. Images stay: they are data.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { killCgroup, removeCgroup } from "../platform/cgroup.ts";
import { readJson } from "../platform/files.ts";
import { logger } from "../platform/log.ts";
import { detachAllUnder } from "../platform/mount.ts";
import { alive, identify, type ProcessId, signal } from "../platform/process.ts";
import { loadConfig } from "./cni/config.ts";
import { removeAllHostPorts } from "./cni/hostport.ts";
import { delNetwork } from "./cni/invoke.ts";
import { conmonPidFile } from "./container/conmon.ts";
import { message } from "./errors.ts";
import * as layout from "./layout.ts";
import { findOciRuntime, OciRuntime } from "./oci/runtime.ts";
import { decodeSandbox } from "./sandbox/record.ts";
import { releaseKernelState } from "./sandbox/sandboxes.ts";

export interface RemoveAllOptions extends layout.RuntimePaths {
  clusterId: string;
  /** The node's group where the cluster has several nodes; then what the others have stays. */
  cgroupParent?: string;
}

const log = logger("runtime");
/** Milliseconds that monitors of killed containers may take to end by themselves. */
const CONMON_PATIENCE = 2000;

const entries = (dir: string) => (existsSync(dir) ? readdirSync(dir) : []);

function settings(paths: layout.RuntimePaths): Partial<layout.Settings> {
  try {
    return readJson<layout.Settings>(layout.settingsFile(paths)) ?? {};
  } catch (error) {
    log.warn("The runtime's settings are damaged; going on with defaults", { err: message(error) });
    return {};
  }
}

/** Monitors of containers, checked by their command line, since a pid alone may be another's by now. */
function monitors(paths: layout.RuntimePaths): ProcessId[] {
  const found: ProcessId[] = [];
  for (const id of entries(layout.containers(paths))) {
    const file = conmonPidFile(layout.containerDir(paths, id));
    const process = existsSync(file) ? identify(Number(readFileSync(file, "utf8"))) : undefined;
    if (process && readFileSync(`/proc/${process.pid}/cmdline`, "utf8").includes(id)) found.push(process);
  }
  return found;
}

async function endMonitors(list: readonly ProcessId[]): Promise<void> {
  const deadline = Date.now() + CONMON_PATIENCE;
  while (list.some(alive) && Date.now() < deadline) await delay(5);
  for (const process of list) signal(process, "SIGKILL");
  while (list.some(alive)) await delay(5);
}

async function leaveNetwork(paths: layout.RuntimePaths, id: string, binDirs: readonly string[]): Promise<void> {
  try {
    const stored = readJson<unknown>(join(layout.sandboxDir(paths, id), "state.json"));
    if (stored === undefined) return;
    const record = decodeSandbox(stored);
    if (record.network === undefined) return;
    const net = record.namespaces.net;
    const netns = net !== undefined && existsSync(net) ? net : "";
    const target = { containerId: id, netns, ifName: "eth0", args: {}, portMappings: [] };
    await delNetwork(record.network.config, target, binDirs, record.network.result);
  } catch (error) {
    log.warn("A pod's network could not be taken down by its plugins", { podSandboxID: id, err: message(error) });
  }
}

/** host-local keeps a file an address; with no pod left, none of them is in use. */
function freeAddresses(confDir: string | undefined): void {
  if (confDir === undefined || !existsSync(confDir)) return;
  try {
    const config = loadConfig(confDir);
    for (const { ipam } of config.plugins) {
      if (ipam?.type === "host-local" && ipam.dataDir !== undefined)
        rmSync(join(ipam.dataDir, config.name), { recursive: true, force: true });
    }
  } catch (error) {
    log.warn("Can't free addresses of the pod network", { err: message(error) });
  }
}

/** Removes all of a cluster's containers and sandboxes with all that they had. Idempotent. */
export async function removeAll(options: RemoveAllOptions): Promise<void> {
  const set = settings(options);
  const parents = new Set([options.cgroupParent ?? `/kubun-${options.clusterId}`, ...(set.cgroupParent ? [set.cgroupParent] : [])]);
  const binDirs = set.cniBinDirs ?? ["/usr/lib/cni", "/opt/cni/bin"];
  const conmons = monitors(options);
  for (const parent of parents) await killCgroup(parent);
  const known = entries(layout.runcRoot(options));
  if (known.length > 0) {
    const oci = new OciRuntime(set.ociRuntime ?? findOciRuntime(), layout.runcRoot(options));
    await Promise.all(known.map((id) => oci.delete(id)));
  }
  await endMonitors(conmons);
  for (const id of entries(layout.sandboxes(options))) await leaveNetwork(options, id, binDirs);
  for (const id of entries(join(options.runDir, "ns"))) releaseKernelState(options, id);
  detachAllUnder(options.runDir);
  detachAllUnder(options.root);
  // A node of several has its host ports in its own network, which goes as a whole.
  if (options.cgroupParent === undefined && existsSync("/usr/sbin/nft")) await removeAllHostPorts(options.clusterId);
  freeAddresses(set.cniConfDir);
  for (const parent of parents) await removeCgroup(parent);
  for (const dir of [layout.containers(options), layout.sandboxes(options), layout.exits(options), options.runDir]) {
    await rm(dir, { recursive: true, force: true });
  }
}
