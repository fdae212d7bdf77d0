// What a node needs of the machine it runs on, and how that is undone: kernel
// settings (shared by all clusters of a machine, restored by the last one), the
// CNI configuration, and a route that keeps packets for pods that are gone from
// leaving the machine.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { writeAtomic } from "../../platform/files.ts";

const SYSCTLS: Record<string, string> = {
  "net/ipv4/ip_forward": "1",
  // Replies between two pods of one bridge must pass conntrack, which rewrites service addresses.
  "net/bridge/bridge-nf-call-iptables": "1",
};

const SHARED_DIR = "/run/kubun";
const SAVED = join(SHARED_DIR, "sysctls.json");
const procFile = (key: string) => join("/proc/sys", key);

type Saved = Record<string, string>;

function readSaved(): Saved {
  return existsSync(SAVED) ? (JSON.parse(readFileSync(SAVED, "utf8")) as Saved) : {};
}

/** Sets a kernel setting after noting down what it was. */
export function setSysctl(key: string, value: string): void {
  const file = procFile(key);
  if (!existsSync(file)) throw new Error(`the kernel lacks ${file}: load the module that has it (modprobe br_netfilter), then start again`);
  const before = readFileSync(file, "utf8").trim();
  if (before === value) return;
  const saved = readSaved();
  if (!(key in saved)) {
    mkdirSync(SHARED_DIR, { recursive: true });
    writeAtomic(SAVED, JSON.stringify({ ...saved, [key]: before }));
  }
  writeFileSync(file, value);
}

/** Puts kernel settings back when no other cluster of this machine needs them. */
export function restoreSysctls(): void {
  const others = existsSync(SHARED_DIR) ? readdirSync(SHARED_DIR, { withFileTypes: true }).filter((e) => e.isDirectory()) : [];
  if (others.length > 0) return;
  for (const [key, value] of Object.entries(readSaved())) if (existsSync(procFile(key))) writeFileSync(procFile(key), value);
  rmSync(SHARED_DIR, { recursive: true, force: true });
}

/** The address that other machines know this one by: that of the interface with the default route, else the first that is not loopback. */
export function nodeAddress(): string | undefined {
  const all = networkInterfaces();
  const route = existsSync("/proc/net/route")
    ? readFileSync("/proc/net/route", "utf8")
        .split("\n")
        .map((l) => l.split("\t"))
        .find((c) => c[1] === "00000000" && c[7] === "00000000")?.[0]
    : undefined;
  const candidates = [...(route ? (all[route] ?? []) : []), ...Object.values(all).flatMap((a) => a ?? [])];
  return candidates.find((a) => a.family === "IPv4" && !a.internal)?.address;
}

export const bridgeName = (clusterId: string) => `kb-${clusterId}`;

function ip(...args: string[]): { ok: boolean; error: string } {
  const p = Bun.spawnSync(["ip", ...args], { stdout: "ignore", stderr: "pipe" });
  return { ok: p.exitCode === 0, error: p.stderr.toString().trim() };
}

/** Pods' addresses that no interface has are unreachable instead of following the default route. */
export function addUnreachableRoute(podCidr: string): void {
  const { ok, error } = ip("route", "replace", "unreachable", podCidr, "metric", "4278198272");
  if (!ok) throw new Error(`ip route replace unreachable ${podCidr}: ${error}`);
}

export function removeUnreachableRoute(podCidr: string): void {
  ip("route", "del", "unreachable", podCidr, "metric", "4278198272");
}

export function removeBridge(clusterId: string): void {
  ip("link", "del", bridgeName(clusterId));
}

export interface CniOptions {
  clusterId: string;
  /** This node's share of the cluster's pod network. */
  podCidr: string;
  /** Folder of the conflist. */
  confDir: string;
  /** Where host-local keeps which address is taken. */
  ipamDir: string;
}

/** Writes the conflist that connects pods to the node's bridge. */
export function writeCniConfig(o: CniOptions): void {
  mkdirSync(o.confDir, { recursive: true });
  mkdirSync(dirname(o.ipamDir), { recursive: true });
  const conflist = {
    cniVersion: "1.0.0",
    name: "kubun",
    plugins: [
      {
        type: "bridge",
        bridge: bridgeName(o.clusterId),
        isGateway: true,
        hairpinMode: true,
        ipam: { type: "host-local", dataDir: o.ipamDir, ranges: [[{ subnet: o.podCidr }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
    ],
  };
  writeAtomic(join(o.confDir, "10-kubun.conflist"), `${JSON.stringify(conflist, null, 2)}\n`);
}

/**
 * Prepares a node's host: forwarding on, stray pod traffic stopped. A host of
 * its own network namespace has settings of its own, which go with it.
 */
export function prepareHost(podCidr: string, ownNamespace: boolean): void {
  for (const [key, value] of Object.entries(SYSCTLS)) {
    if (ownNamespace) writeFileSync(procFile(key), value);
    else setSysctl(key, value);
  }
  if (!ownNamespace) addUnreachableRoute(podCidr);
}
