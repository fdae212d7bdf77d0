import type { Address } from "../../rpc/types.ts";

/** Where a URL of flags and members leads. Throws TypeError for what is none. */
export function addressOf(url: string): Address {
  const unix = /^unixs?:\/\/(.+)$/.exec(url);
  if (unix) return { unix: unix[1]! };
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port ? Number(port) : protocol === "https:" ? 443 : 80 };
}
