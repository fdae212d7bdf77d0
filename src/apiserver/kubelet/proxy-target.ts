import { BlockList, isIP } from "node:net";

/** What the name in a proxy path tells: "web", "web:8080", "https:web:https" (apimachinery's SplitSchemeNamePort). */
export function proxyTarget(text: string): { scheme: "http" | "https"; name: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 3 && (parts[0] === "http" || parts[0] === "https" || parts[0] === ""))
    return { scheme: parts[0] || "http", name: parts[1]!, port: parts[2]! };
  return { scheme: "http", name: parts[0]!, port: parts[1] ?? "" };
}

/** "http://10.0.0.5:8080" */
export const originOf = (scheme: string, ip: string, port: string): string => `${scheme}://${ip.includes(":") ? `[${ip}]` : ip}:${port}`;

const notUnicast = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 32],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 4],
  ["255.255.255.255", 32],
] as const)
  notUnicast.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 128],
  ["::1", 128],
  ["fe80::", 10],
  ["ff00::", 8],
] as const)
  notUnicast.addSubnet(network, prefix, "ipv6");

/** Whether an address is one of a single machine anywhere, as Go's IP.IsGlobalUnicast has it: not this machine, nor its link. */
export function isGlobalUnicast(ip: string): boolean {
  const family = isIP(ip);
  return family !== 0 && !notUnicast.check(ip, family === 4 ? "ipv4" : "ipv6");
}
