// The node's own resolvers, from resolv.conf(5).
import { readFileSync, statSync } from "node:fs";
import { addressBytes } from "./addresses.ts";

export interface UpstreamAddress {
  host: string;
  port: number;
}

/** Name servers in the order of the file. Lines that make no sense are passed over, as glibc does. */
export function parseResolvConf(text: string): UpstreamAddress[] {
  const found: UpstreamAddress[] = [];
  for (const line of text.split("\n")) {
    const [keyword, value] = line.trim().split(/\s+/);
    const host = value?.replace(/%.*$/, "");
    if (keyword === "nameserver" && host && addressBytes(host)) found.push({ host: value!, port: 53 });
  }
  return found;
}

/** "9.9.9.9", "9.9.9.9:5353" or "[2620:fe::fe]:53". Throws a RangeError on anything else. */
export function parseUpstream(text: string): UpstreamAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)|(.+))(?::(\d+))?$/.exec(addressBytes(text) ? `[${text}]` : text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[4] ?? 53);
  if (!addressBytes(host) || port < 1 || port > 65535) throw new RangeError(`${JSON.stringify(text)} is no address of a name server`);
  return { host, port };
}

/** The file, read again when it changed; looked at no more often than every few seconds. */
export class ResolvConf {
  readonly #path: string;
  #looked = Number.NEGATIVE_INFINITY;
  #changed = Number.NaN;
  #servers: UpstreamAddress[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  servers(now: number): readonly UpstreamAddress[] {
    if (now - this.#looked < 5000) return this.#servers;
    this.#looked = now;
    try {
      const changed = statSync(this.#path).mtimeMs;
      if (changed !== this.#changed) this.#servers = parseResolvConf(readFileSync(this.#path, "utf8"));
      this.#changed = changed;
    } catch (e) {
      // A node without network has none; it may come.
      if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
      this.#servers = [];
      this.#changed = Number.NaN;
    }
    return this.#servers;
  }
}
