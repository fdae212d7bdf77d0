// Runs CNI plugins (containernetworking/cni SPEC 1.0.0, "Execution protocol").
import { existsSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../platform/process.ts";
import type { CniConfig, CniPlugin } from "./config.ts";

export interface CniResult {
  cniVersion?: string;
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  ips?: { address: string; gateway?: string; interface?: number }[];
  routes?: { dst: string; gw?: string }[];
  dns?: { nameservers?: string[]; search?: string[] };
}

export interface PortMapping {
  hostPort: number;
  containerPort: number;
  protocol: string;
  hostIP?: string;
}

export interface CniTarget {
  containerId: string;
  /** Path of the namespace; empty for DEL when it is gone. */
  netns: string;
  ifName: string;
  /** K8S_POD_NAME and so on. */
  args: Record<string, string>;
  portMappings: readonly PortMapping[];
}

/** What a plugin says went wrong (SPEC, "Error"). */
export class CniError extends Error {
  override name = "CniError";
  readonly code: number;
  constructor(plugin: string, command: string, code: number, message: string) {
    super(`plugin type=${JSON.stringify(plugin)} failed (${command.toLowerCase()}): ${message}`);
    this.code = code;
  }
}

/** Milliseconds that a plugin may take. */
const TIMEOUT = 60_000;

function pluginPath(type: string, binDirs: readonly string[]): string {
  for (const dir of binDirs) if (existsSync(join(dir, type))) return join(dir, type);
  throw new Error(`failed to find plugin ${JSON.stringify(type)} in path [${binDirs.join(" ")}]`);
}

/** The parts of what the runtime offers that this plugin asked for. */
function runtimeConfig(plugin: CniPlugin, target: CniTarget): Record<string, unknown> | undefined {
  const offered: Record<string, unknown> = target.portMappings.length > 0 ? { portMappings: target.portMappings } : {};
  const wanted = Object.entries(offered).filter(([name]) => plugin.capabilities?.[name]);
  return wanted.length > 0 ? Object.fromEntries(wanted) : undefined;
}

async function invoke(
  command: "ADD" | "DEL" | "CHECK",
  config: CniConfig,
  plugin: CniPlugin,
  target: CniTarget,
  binDirs: readonly string[],
  prevResult: CniResult | undefined,
): Promise<CniResult | undefined> {
  const { capabilities: _, ...rest } = plugin;
  const input = { ...rest, cniVersion: config.cniVersion, name: config.name, runtimeConfig: runtimeConfig(plugin, target), prevResult };
  const args = { IgnoreUnknown: "1", ...target.args };
  const result = await run([pluginPath(plugin.type, binDirs)], {
    input: JSON.stringify(input),
    timeout: TIMEOUT,
    env: {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_CONTAINERID: target.containerId,
      CNI_NETNS: target.netns,
      CNI_IFNAME: target.ifName,
      CNI_PATH: binDirs.join(":"),
      CNI_ARGS: Object.entries(args)
        .map(([k, v]) => `${k}=${v}`)
        .join(";"),
    },
  });
  if (result.code !== 0) throw failure(plugin.type, command, result.stdout, result.stderr || `exit code ${result.code}`);
  return result.stdout.trim() === "" ? undefined : (JSON.parse(result.stdout) as CniResult);
}

function failure(plugin: string, command: string, stdout: string, fallback: string): CniError {
  try {
    const { code, msg, details } = JSON.parse(stdout) as { code?: number; msg?: string; details?: string };
    return new CniError(plugin, command, code ?? 0, [msg, details].filter(Boolean).join("; ") || fallback.trim());
  } catch {
    // Not the protocol's error object, so the raw output is all there is to show.
    return new CniError(plugin, command, 0, (stdout.trim() || fallback).trim());
  }
}

/** Connects a namespace: each plugin in order gets the result of the one before. */
export async function addNetwork(config: CniConfig, target: CniTarget, binDirs: readonly string[]): Promise<CniResult> {
  let result: CniResult | undefined;
  for (const plugin of config.plugins) result = (await invoke("ADD", config, plugin, target, binDirs, result)) ?? result;
  return result ?? {};
}

/** Disconnects it, in reverse order. Every plugin is asked; the first failure is thrown at the end. */
export async function delNetwork(config: CniConfig, target: CniTarget, binDirs: readonly string[], cached?: CniResult): Promise<void> {
  const failures: unknown[] = [];
  for (const plugin of [...config.plugins].reverse()) {
    try {
      await invoke("DEL", config, plugin, target, binDirs, cached);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Asks whether what ADD made is still there. @throws CniError if not. */
export async function checkNetwork(config: CniConfig, target: CniTarget, binDirs: readonly string[], cached: CniResult): Promise<void> {
  for (const plugin of config.plugins) await invoke("CHECK", config, plugin, target, binDirs, cached);
}
