// What one service puts into the table: chains, sets and elements of maps, named
// as kube-proxy's nftables mode names them.
import { createHash } from "node:crypto";
import type { Maglev } from "./maglev.ts";
import type { Endpoint, ServicePort } from "./service-ports.ts";

export interface Piece {
  /** Rules by name of the chain. */
  chains: Map<string, string[]>;
  /** Seconds of timeout by name of the set of clients. */
  affinities: Map<string, number>;
  /** Values by "map key"; empty for an element of a set. */
  elements: Map<string, string>;
}

export interface RuleContext {
  /** CIDRs that pods have their addresses from; traffic from elsewhere is masqueraded. */
  podCidrs: readonly string[];
  maglev: Maglev;
}

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Eight letters and digits that keep names apart which the table would not. */
function hashOf(text: string): string {
  const digest = createHash("sha256").update(text).digest();
  let out = "";
  for (let bit = 0; bit < 40; bit += 5) {
    const word = ((digest[bit >> 3]! << 8) | (digest[(bit >> 3) + 1] ?? 0)) >> (11 - (bit & 7));
    out += base32[word & 31];
  }
  return out;
}

/** Key of an element: the map it belongs to, then the key in nft's words. */
const element = (map: string, ...key: (string | number)[]) => `${map} ${key.join(" . ")}`;
const setOf = (list: readonly string[]) => `{ ${list.join(", ")} }`;

/** Slots that are next to each other and lead to the same place become one interval. */
export function intervals(table: Int32Array, target: (backend: number) => string): string {
  const parts: string[] = [];
  for (let from = 0; from < table.length; ) {
    let to = from;
    while (to + 1 < table.length && table[to + 1] === table[from]) to++;
    parts.push(`${from === to ? from : `${from}-${to}`} : goto ${target(table[from]!)}`);
    from = to + 1;
  }
  return parts.join(", ");
}

/** The rules of one service. Nothing where it has no address of our family. */
export function servicePiece(ports: readonly ServicePort[], context: RuleContext): Piece {
  const piece: Piece = { chains: new Map(), affinities: new Map(), elements: new Map() };
  for (const port of ports) addPort(piece, port, context);
  return piece;
}

function addPort(piece: Piece, p: ServicePort, { podCidrs, maglev }: RuleContext): void {
  const { chains, elements, affinities } = piece;
  const name = `${p.namespace}/${p.service}/${p.protocol}/${p.portName}`;
  const id = `${hashOf(name)}-${name}`;
  const clusterChain = `service-${id}`;
  const localChain = `local-${id}`;
  const externalChain = `external-${id}`;
  const endpointChain = (e: Endpoint) => `endpoint-${hashOf(`${name}__${e.ip}/${e.port}`)}-${name}__${e.ip}/${e.port}`;
  // A set's timeout can't be changed, so another timeout is another set.
  const affinitySet = (e: Endpoint) => `affinity-${hashOf(`${name}__${e.ip}/${e.port}__${p.affinity}`)}-${name}__${e.ip}/${e.port}`;
  const fromElsewhere = podCidrs.length > 0 ? `ip saddr != ${setOf(podCidrs)} ` : undefined;

  const balance = (endpoints: readonly Endpoint[]): string[] => {
    const sticky = p.affinity === undefined ? [] : endpoints.map((e) => `ip saddr @${affinitySet(e)} goto ${endpointChain(e)}`);
    if (endpoints.length === 1) return [...sticky, `goto ${endpointChain(endpoints[0]!)}`];
    const table = maglev.table(endpoints.map((e) => `${e.ip}:${e.port}`));
    // Nodes agree on where a connection goes, and services of the same endpoints do not.
    const seed = Number.parseInt(createHash("sha256").update(id).digest("hex").slice(0, 8), 16) || 1;
    const key = p.affinity === undefined ? "ip saddr . th sport" : "ip saddr";
    const map = intervals(table, (i) => endpointChain(endpoints[i]!));
    return [...sticky, `jhash ${key} mod ${table.length} seed 0x${seed.toString(16)} vmap { ${map} }`];
  };
  // Replies of pods to clients outside of the pod network have to come back through here.
  const masquerade = fromElsewhere
    ? p.clusterIPs.map((ip) => `ip daddr ${ip} ${p.protocol} dport ${p.port} ${fromElsewhere}jump mark-for-masquerade`)
    : [];

  const external = p.nodePort > 0 || p.externalIPs.length > 0;
  const usesCluster = !p.internalLocal || external;
  const usesLocal = p.internalLocal || (external && p.externalLocal);
  if (usesCluster && p.cluster.length > 0) chains.set(clusterChain, [...(p.internalLocal ? [] : masquerade), ...balance(p.cluster)]);
  if (usesLocal && p.local.length > 0) chains.set(localChain, [...(p.internalLocal ? masquerade : []), ...balance(p.local)]);
  for (const e of [...(usesCluster ? p.cluster : []), ...(usesLocal ? p.local : [])]) {
    const rules = [`ip saddr ${e.ip} jump mark-for-masquerade`];
    if (p.affinity !== undefined) {
      affinities.set(affinitySet(e), p.affinity);
      rules.push(`update @${affinitySet(e)} { ip saddr }`);
    }
    chains.set(endpointChain(e), [...rules, `meta l4proto ${p.protocol} dnat to ${e.ip}:${e.port}`]);
  }

  // With endpoints elsewhere only, packets are dropped rather than refused: the client may come back to another node.
  const none = p.cluster.length > 0 || p.local.length > 0 ? "drop" : "goto reject-chain";
  const internal = p.internalLocal ? p.local : p.cluster;
  for (const ip of p.clusterIPs) {
    elements.set(element("cluster-ips", ip), "");
    if (internal.length > 0)
      elements.set(element("service-ips", ip, p.protocol, p.port), `goto ${p.internalLocal ? localChain : clusterChain}`);
    else elements.set(element("no-endpoint-services", ip, p.protocol, p.port), none);
  }
  if (!external) return;

  if (p.cluster.length > 0 || (p.externalLocal && p.local.length > 0)) {
    const rules: string[] = [];
    if (!p.externalLocal) rules.push("jump mark-for-masquerade", `goto ${clusterChain}`);
    else {
      if (p.cluster.length > 0) {
        // From a pod or this node the client's address does not matter as it does from outside.
        if (podCidrs.length > 0) rules.push(`ip saddr ${setOf(podCidrs)} goto ${clusterChain}`);
        rules.push("fib saddr type local jump mark-for-masquerade", `fib saddr type local goto ${clusterChain}`);
      }
      if (p.local.length > 0) rules.push(`goto ${localChain}`);
    }
    chains.set(externalChain, rules);
    for (const ip of p.externalIPs) elements.set(element("service-ips", ip, p.protocol, p.port), `goto ${externalChain}`);
    if (p.nodePort > 0) elements.set(element("service-nodeports", p.protocol, p.nodePort), `goto ${externalChain}`);
  }
  if ((p.externalLocal ? p.local : p.cluster).length === 0) {
    for (const ip of p.externalIPs) elements.set(element("no-endpoint-services", ip, p.protocol, p.port), none);
    if (p.nodePort > 0) elements.set(element("no-endpoint-nodeports", p.protocol, p.nodePort), none);
  }
}
