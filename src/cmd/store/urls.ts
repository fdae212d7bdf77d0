// URLs to listen on and to be found at.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { Address } from "../../rpc/types.ts";
import { UsageError } from "../flags.ts";

export interface ListenUrl {
  readonly url: string;
  readonly address: Address;
  readonly secure: boolean;
}

const bad = (flag: string, url: string, why: string) => new UsageError(`invalid value ${JSON.stringify(url)} for flag --${flag}: ${why}`);

/** @throws UsageError for what is no URL of a host and a port, or of a socket */
export function parseUrls(flag: string, urls: readonly string[]): ListenUrl[] {
  return urls.map((url) => {
    const unix = /^unixs?:\/\/(.+)$/.exec(url);
    if (unix) {
      if (Buffer.byteLength(unix[1]!) > 107) throw bad(flag, url, "the path of a socket may have 107 bytes");
      return { url, address: { unix: unix[1]! }, secure: url.startsWith("unixs:") };
    }
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed || !["http:", "https:"].includes(parsed.protocol)) throw bad(flag, url, "must be an http://, https:// or unix:// URL");
    if (parsed.pathname !== "/" || parsed.search || parsed.username) throw bad(flag, url, "must be scheme, host and port alone");
    // URL leaves out a scheme's own port.
    const port = parsed.port ? Number(parsed.port) : /:(80|443)\/?$/.test(url) ? Number(/:(\d+)\/?$/.exec(url)![1]) : undefined;
    if (port === undefined) throw bad(flag, url, "must name a port");
    return { url, address: { host: parsed.hostname.replace(/^\[|\]$/g, ""), port }, secure: parsed.protocol === "https:" };
  });
}

/** The same, where it is to be listened: at addresses alone. */
export function parseListenUrls(flag: string, urls: readonly string[]): ListenUrl[] {
  return parseUrls(flag, urls).map((u) => {
    if ("unix" in u.address) return u;
    // As Go has it, which listens at the first address of the name.
    if (u.address.host === "localhost") return { ...u, address: { ...u.address, host: "127.0.0.1" } };
    if (!/^[\d.]+$|:/.test(u.address.host)) throw bad(flag, u.url, `expected IP in URL for binding (${u.url})`);
    return u;
  });
}

const isAny = (host: string) => host === "0.0.0.0" || host === "::";

/** Whether one of them stands for all addresses of the machine, so that nobody can be told it. */
export const listensAnywhere = (urls: readonly ListenUrl[]) => urls.some(({ address }) => "host" in address && isAny(address.host));

/** The address of the machine's default route, if it has one. */
function defaultHost(): string | undefined {
  let routes: string;
  try {
    routes = readFileSync("/proc/net/route", "utf8");
  } catch {
    // Not on Linux.
    return undefined;
  }
  const device = /^(\S+)\t00000000\t/m.exec(routes)?.[1];
  return device && networkInterfaces()[device]?.find((a) => a.family === "IPv4")?.address;
}

/**
 * The URLs that others are told: where they are `fallback` and this listens at
 * 0.0.0.0, etcd takes the machine's own address.
 */
export function advertised(urls: readonly string[], fallback: string, listen: readonly ListenUrl[]): readonly string[] {
  const first = listen[0]?.address;
  if (urls.length !== 1 || urls[0] !== fallback || !first || "unix" in first || first.host !== "0.0.0.0") return urls;
  const host = defaultHost();
  return host ? [`${new URL(fallback).protocol}//${host}:${first.port}`] : urls;
}
