// Ports for programs that have to be told theirs before they start.
import { readFileSync } from "node:fs";

/** Above what programs have by default, and below the NodePorts of a cluster on this machine. */
const FIRST = 11_000;
const END = 30_000;

/** Where the kernel's own choices of ports begin: those of connections that other tests make at any moment. */
function firstEphemeral(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/)[0]);
  } catch {
    // Another kernel's are those that IANA names dynamic.
    return 49_152;
  }
}

const given = new Set<number>();

/** Ports that nobody listens on now, none given twice by this process, and that the kernel gives to nobody else. */
export function freePorts(count: number): number[] {
  const end = Math.min(END, firstEphemeral());
  if (end - FIRST < 1000) throw new Error(`the kernel gives out ports from ${end} on, so none are left for tests (ip_local_port_range)`);
  if (given.size > (end - FIRST) / 2) given.clear();
  const ports: number[] = [];
  for (let attempt = 0; ports.length < count; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (end - FIRST));
    if (given.has(port)) continue;
    try {
      Bun.listen({ hostname: "0.0.0.0", port, socket: { data() {} } }).stop(true);
      ports.push(port);
      given.add(port);
    } catch (error) {
      if (attempt > 1000) throw error;
    }
  }
  return ports;
}

export const freePort = (): number => freePorts(1)[0]!;
