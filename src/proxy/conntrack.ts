// Connection tracking entries that send UDP to where nobody listens any more:
// TCP clients find out by themselves, UDP clients never do.
import { type Logger, logger } from "../platform/log.ts";

export interface UdpEntry {
  source: string;
  sourcePort: number;
  /** What the client sent to. */
  destination: string;
  destinationPort: number;
  /** Where it went. */
  backend: string;
  backendPort: number;
}

/** Reads a line of `conntrack -L -p udp`; undefined for what it is not. */
export function parseEntry(line: string): UdpEntry | undefined {
  const fields = [...line.matchAll(/\b(src|dst|sport|dport)=(\S+)/g)].map((m) => m[2]!);
  if (fields.length < 8) return undefined;
  const [source, destination, sourcePort, destinationPort, backend, , backendPort] = fields;
  return {
    source: source!,
    sourcePort: Number(sourcePort),
    destination: destination!,
    destinationPort: Number(destinationPort),
    backend: backend!,
    backendPort: Number(backendPort),
  };
}

/** Services' UDP frontends and backends as they are now. */
export interface UdpFrontends {
  /** "ip:port" of cluster and external addresses → backends "ip:port". */
  addresses: ReadonlyMap<string, ReadonlySet<string>>;
  /** Node port → backends. */
  nodePorts: ReadonlyMap<number, ReadonlySet<string>>;
}

/** Whether the entry is of one of our services and its backend is none any more. */
export function isStale(entry: UdpEntry, now: UdpFrontends, isLocal: (ip: string) => boolean): boolean {
  const backend = `${entry.backend}:${entry.backendPort}`;
  const service = now.addresses.get(`${entry.destination}:${entry.destinationPort}`);
  if (service) return !service.has(backend);
  const nodePort = isLocal(entry.destination) ? now.nodePorts.get(entry.destinationPort) : undefined;
  return nodePort !== undefined && !nodePort.has(backend);
}

export class Conntrack {
  readonly #prefix: readonly string[];
  readonly #log: Logger;
  #missing = false;

  constructor(prefix: readonly string[] = [], log: Logger = logger("proxy")) {
    this.#prefix = prefix;
    this.#log = log;
  }

  /** Deletes entries of UDP services whose backend is gone; returns how many there were. */
  async clean(now: UdpFrontends, isLocal: (ip: string) => boolean): Promise<number> {
    if (now.addresses.size === 0 && now.nodePorts.size === 0) return 0;
    const listed = await this.#run("-L", "-p", "udp");
    const stale = listed
      .split("\n")
      .flatMap((line) => parseEntry(line) ?? [])
      .filter((e) => isStale(e, now, isLocal));
    for (const e of stale) {
      const from = ["-s", e.source, "--sport", String(e.sourcePort)];
      await this.#run("-D", "-p", "udp", ...from, "-d", e.destination, "--dport", String(e.destinationPort));
    }
    return stale.length;
  }

  /** Exits with 1 when nothing matches, which is fine. */
  async #run(...args: string[]): Promise<string> {
    if (this.#missing) return "";
    try {
      const child = Bun.spawn([...this.#prefix, "conntrack", ...args], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
      const out = await new Response(child.stdout).text();
      await child.exited;
      return out;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
      this.#missing = true;
      this.#log.warn("conntrack is missing, so UDP clients may keep on sending to endpoints that are gone: install the package conntrack");
      return "";
    }
  }
}
