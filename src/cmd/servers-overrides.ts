// --etcd-servers-overrides: single resources in stores of their own.
import type { StoreClient } from "../client/etcd.ts";
import type { Flag } from "./flags.ts";
import { checkEndpoints } from "./store-client.ts";

/** Servers by "group/resource". */
export type ServersOverrides = ReadonlyMap<string, readonly string[]>;

/** Kept beside the addresses and ports that are given out in the same transaction. */
const TOGETHER = ["/services", "networking.k8s.io/ipaddresses"];

export const serversOverrides: Flag<ServersOverrides> = {
  placeholder: "LIST",
  fallback: new Map(),
  help: 'resources that are kept elsewhere, such as "/events#https://10.0.0.9:2379;https://10.0.0.10:2379"; several with commas',
  parse(text) {
    const found = new Map<string, readonly string[]>();
    for (const part of text.split(",")) {
      const [, group, resource, servers] = /^([^/#]*)\/([^/#]+)#([^#]+)$/.exec(part) ?? [];
      if (group === undefined || !resource || !servers)
        throw new Error("must be of format: group/resource#servers, where servers are URLs, semicolon separated");
      const name = `${group}/${resource}`;
      if (TOGETHER.includes(name))
        throw new Error(`${name} can't be kept apart from the ranges that addresses and ports are given out from`);
      found.set(name, servers.split(";"));
    }
    return found;
  },
};

/** Opens each set of servers once. Throws UsageError for what is no address of a store. */
export function openOverrides<C extends StoreClient>(overrides: ServersOverrides, open: (servers: readonly string[]) => C): Map<string, C> {
  const clients = new Map<string, C>();
  const byResource = new Map<string, C>();
  for (const [name, servers] of overrides) {
    checkEndpoints(servers, "etcd-servers-overrides");
    const set = [...servers].sort().join();
    const client = clients.get(set) ?? open(servers);
    clients.set(set, client);
    byResource.set(name, client);
  }
  return byResource;
}
