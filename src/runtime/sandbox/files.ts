// The files every container of a pod finds in /etc unless it mounts its own.
import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { PodSandboxConfig } from "../../rpc/gen/cri/runtime_pb.ts";

export const resolvConfPath = (dir: string): string => join(dir, "resolv.conf");
export const hostsPath = (dir: string): string => join(dir, "hosts");
export const hostnamePath = (dir: string): string => join(dir, "hostname");

/** resolv.conf(5) from a pod's DNS configuration; the host's if it has none. */
export function resolvConf(config: PodSandboxConfig): string {
  const dns = config.dnsConfig;
  if (dns === undefined) return readFileSync("/etc/resolv.conf", "utf8");
  const lines: string[] = [];
  if (dns.searches.length > 0) lines.push(`search ${dns.searches.join(" ")}`);
  for (const server of dns.servers) lines.push(`nameserver ${server}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(" ")}`);
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** The name that the pod's containers see. */
export const podHostname = (config: PodSandboxConfig): string => config.hostname || hostname();

export function writeSandboxFiles(dir: string, config: PodSandboxConfig): void {
  writeFileSync(resolvConfPath(dir), resolvConf(config), { mode: 0o644 });
  writeFileSync(hostnamePath(dir), `${podHostname(config)}\n`, { mode: 0o644 });
  writeFileSync(hostsPath(dir), readFileSync("/etc/hosts"), { mode: 0o644 });
}
