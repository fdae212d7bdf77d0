// The proxy's table in nftables: what it holds, and the smallest batch of
// commands that brings it from what was applied to what is wanted. A core.
import type { Piece } from "./rules.ts";

export interface TableOptions {
  /** Name of the table, of family ip. */
  name: string;
  podCidrs: readonly string[];
  /** Networks of service addresses: what no service has of them is refused, and never leaves the node. */
  serviceCidrs: readonly string[];
  /** Serve NodePorts on 127.0.0.0/8 too, which needs net.ipv4.conf.all.route_localnet. */
  localhostNodePorts: boolean;
}

/** kube-proxy's bit of the packet mark: to be masqueraded. */
const mark = "0x4000";

/** The commands that make the table anew, without services. */
export function baseTable({ name, podCidrs, serviceCidrs, localhostNodePorts }: TableOptions): string[] {
  const t = `ip ${name}`;
  const pods = `{ ${podCidrs.join(", ")} }`;
  const chain = (chainName: string, hook = "") => `add chain ${t} ${chainName}${hook ? ` { type ${hook}; }` : ""}`;
  const rule = (chainName: string, text: string) => `add rule ${t} ${chainName} ${text}`;
  const nodePorts = `fib daddr type local ${localhostNodePorts ? "" : "ip daddr != 127.0.0.0/8 "}meta l4proto . th dport vmap`;
  return [
    // "add" first: deleting what is not there is an error.
    `add table ${t}`,
    `delete table ${t}`,
    `add table ${t}`,
    `add set ${t} cluster-ips { type ipv4_addr; }`,
    `add map ${t} service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }`,
    `add map ${t} service-nodeports { type inet_proto . inet_service : verdict; }`,
    `add map ${t} no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }`,
    `add map ${t} no-endpoint-nodeports { type inet_proto . inet_service : verdict; }`,
    chain("mark-for-masquerade"),
    rule("mark-for-masquerade", `meta mark set meta mark or ${mark}`),
    chain("reject-chain"),
    rule("reject-chain", "reject"),
    chain("services"),
    rule("services", "ip daddr . meta l4proto . th dport vmap @service-ips"),
    rule("services", `${nodePorts} @service-nodeports`),
    chain("nat-prerouting", "nat hook prerouting priority dstnat"),
    rule("nat-prerouting", "jump services"),
    chain("nat-output", "nat hook output priority -100"),
    rule("nat-output", "jump services"),
    chain("nat-postrouting", "nat hook postrouting priority srcnat"),
    rule("nat-postrouting", `meta mark & ${mark} == ${mark} meta mark set meta mark xor ${mark} masquerade fully-random`),
    // The CNI plugin leaves to us what pods send out of the pod network.
    ...(podCidrs.length > 0
      ? [rule("nat-postrouting", `ip saddr ${pods} ip daddr != ${pods} ip daddr != 224.0.0.0/4 masquerade fully-random`)]
      : []),
    chain("unserved"),
    rule("unserved", "ip daddr . meta l4proto . th dport vmap @no-endpoint-services"),
    rule("unserved", "ip daddr @cluster-ips reject"),
    ...(serviceCidrs.length > 0
      ? [rule("unserved", `ip daddr { ${serviceCidrs.join(", ")} } reject with icmp type host-unreachable`)]
      : []),
    chain("filter-input", "filter hook input priority filter"),
    rule("filter-input", `ct state new ${nodePorts} @no-endpoint-nodeports`),
    chain("filter-forward", "filter hook forward priority filter"),
    rule("filter-forward", "ct state new jump unserved"),
    chain("filter-output", "filter hook output priority filter"),
    rule("filter-output", "ct state new jump unserved"),
    ...(localhostNodePorts
      ? [
          // What route_localnet would let in: loopback's addresses from another machine (CVE-2020-8558).
          chain("loopback-guard", "filter hook prerouting priority raw"),
          rule("loopback-guard", "iif != lo ip daddr 127.0.0.0/8 drop"),
        ]
      : []),
  ];
}

export interface Script {
  /** Commands for `nft -f`: one transaction. */
  text: string;
  /** To be called when the kernel has accepted them. */
  commit(): void;
}

interface State {
  /** Rules, joined, by chain. */
  chains: Map<string, string>;
  affinities: Set<string>;
  elements: Map<string, string>;
}

export class Table {
  readonly #options: TableOptions;
  readonly #pieces = new Map<string, Piece>();
  /** Who wants which value for an element: two services may name the same external address. */
  readonly #claims = new Map<string, Map<string, string>>();
  /** What the kernel has; undefined when that is not known. */
  #applied: State | undefined;
  /** Names that may have to change, since the last script. */
  #touched = { services: new Set<string>(), chains: new Set<string>(), affinities: new Set<string>(), elements: new Set<string>() };

  constructor(options: TableOptions) {
    this.#options = options;
  }

  /** Wants these rules for a service from now on; undefined for none. */
  set(service: string, piece: Piece | undefined): void {
    const { services, chains, affinities, elements } = this.#touched;
    const before = this.#pieces.get(service);
    services.add(service);
    for (const name of before?.chains.keys() ?? []) chains.add(name);
    for (const name of before?.affinities.keys() ?? []) affinities.add(name);
    for (const id of before?.elements.keys() ?? []) {
      const claims = this.#claims.get(id);
      claims?.delete(service);
      if (claims?.size === 0) this.#claims.delete(id);
      elements.add(id);
    }
    if (!piece) {
      this.#pieces.delete(service);
      return;
    }
    this.#pieces.set(service, piece);
    for (const [id, value] of piece.elements) {
      this.#claims.set(id, (this.#claims.get(id) ?? new Map<string, string>()).set(service, value));
      elements.add(id);
    }
  }

  /** Takes for lost what the kernel has: the next script makes all anew. */
  distrust(): void {
    this.#applied = undefined;
  }

  /** What brings the kernel to what is wanted; undefined when it is there already. */
  script(): Script | undefined {
    const whole = this.#applied === undefined;
    const after: State = {
      chains: new Map(this.#applied?.chains),
      affinities: new Set(this.#applied?.affinities),
      elements: new Map(this.#applied?.elements),
    };
    const t = `ip ${this.#options.name}`;
    const pieces = whole ? [...this.#pieces.values()] : [...this.#touched.services].flatMap((s) => this.#pieces.get(s) ?? []);
    const sets = new Map(pieces.flatMap((p) => [...p.affinities]));
    const chains = new Map(pieces.flatMap((p) => [...p.chains]));

    // In the order that references need: sets, chains, rules, elements; then what nothing refers to any more.
    const declare: string[] = [];
    const rules: string[] = [];
    const remove: string[] = [];
    const insert: string[] = [];
    const drop: string[] = [];
    for (const [name, timeout] of sets) {
      if (after.affinities.has(name)) continue;
      after.affinities.add(name);
      declare.push(`add set ${t} ${name} { type ipv4_addr; size 65535; flags dynamic,timeout; timeout ${timeout}s; }`);
    }
    for (const [name, list] of chains) {
      const text = list.join("\n");
      const before = after.chains.get(name);
      if (before === text) continue;
      after.chains.set(name, text);
      declare.push(`${before === undefined ? "add" : "flush"} chain ${t} ${name}`);
      for (const rule of list) rules.push(`add rule ${t} ${name} ${rule}`);
    }
    for (const id of whole ? this.#claims.keys() : this.#touched.elements) {
      const before = after.elements.get(id);
      const value = this.#value(id);
      if (before === value) continue;
      const at = id.indexOf(" ");
      const [map, key] = [id.slice(0, at), id.slice(at + 1)];
      if (before !== undefined) remove.push(`delete element ${t} ${map} { ${key} }`);
      after.elements.delete(id);
      if (value === undefined) continue;
      after.elements.set(id, value);
      insert.push(`add element ${t} ${map} { ${key}${value ? ` : ${value}` : ""} }`);
    }
    const gone = [...this.#touched.chains].filter((name) => !chains.has(name) && after.chains.delete(name));
    for (const name of gone) drop.push(`flush chain ${t} ${name}`);
    for (const name of gone) drop.push(`delete chain ${t} ${name}`);
    for (const name of this.#touched.affinities) if (!sets.has(name) && after.affinities.delete(name)) drop.push(`delete set ${t} ${name}`);

    this.#touched = { services: new Set(), chains: new Set(), affinities: new Set(), elements: new Set() };
    const lines = [...(whole ? baseTable(this.#options) : []), ...declare, ...rules, ...remove, ...insert, ...drop];
    const commit = () => {
      this.#applied = after;
    };
    if (lines.length > 0) return { text: `${lines.join("\n")}\n`, commit };
    commit();
    return undefined;
  }

  /** The first service by name wins, on every node. */
  #value(id: string): string | undefined {
    const claims = this.#claims.get(id);
    return claims?.get([...claims.keys()].sort()[0]!);
  }
}
