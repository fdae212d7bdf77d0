// The cluster's names and what they stand for (Kubernetes DNS-based service
// discovery 1.1.0). A core: objects in, records out.
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";
import { addressBytes, addressOfReverse, reverseKey } from "./addresses.ts";
import { RCODE, type RecordData, type Reply, type ResourceRecord, TYPE } from "./wire.ts";

export interface ZoneOptions {
  /** "cluster.local" */
  domain: string;
  /** Seconds; default 5, as CoreDNS. */
  ttl?: number;
  /** Whether `1-2-3-4.namespace.pod` is answered for any address ("insecure"), or for those of pods alone. */
  pods?: "insecure" | "verified";
}

interface EndpointRecord {
  /** The label of its own name below the service's. */
  hostname: string;
  address: Uint8Array;
  ports: readonly { name: string; protocol: string; port: number }[];
}

interface ServiceRecord {
  /** "web.default.svc.cluster.local" */
  name: string;
  namespace: string;
  addresses: readonly Uint8Array[];
  ports: readonly { name: string; protocol: string; port: number }[];
  headless: boolean;
  externalName: string | undefined;
  endpoints: readonly EndpointRecord[];
  /** Keys in the reverse index. */
  reverse: readonly string[];
}

type Found = { records: RecordSet[] } | "no such name";
interface RecordSet {
  data: RecordData;
  /** Records about the target, for the additional section. */
  about?: readonly ResourceRecord[];
}

const version = "1.1.0";
const maxSrvWeight = 100;

const isA = (address: Uint8Array) => address.length === 4;
const addressRecord = (address: Uint8Array): RecordData => ({ type: isA(address) ? "A" : "AAAA", address });

export class Zone {
  readonly domain: string;
  readonly ttl: number;
  readonly #pods: "insecure" | "verified";
  readonly #namespaces = new Set<string>();
  /** By "namespace/name". */
  readonly #services = new Map<string, ServiceRecord>();
  readonly #reverse = new Map<string, Map<string, string>>();
  readonly #podAddresses = new Map<string, number>();
  /** Grows with each change; also the zone's serial. */
  generation = 1;

  constructor(options: ZoneOptions) {
    this.domain = options.domain.toLowerCase().replace(/\.$/, "");
    this.ttl = options.ttl ?? 5;
    this.#pods = options.pods ?? "insecure";
  }

  setNamespace(name: string, present: boolean): void {
    if (this.#namespaces.has(name) === present) return;
    if (present) this.#namespaces.add(name);
    else this.#namespaces.delete(name);
    this.generation++;
  }

  /** A service with its slices, or its end. */
  setService(key: string, service: coreV1.Service | undefined, slices: readonly discoveryV1.EndpointSlice[]): void {
    const before = this.#services.get(key);
    for (const address of before?.reverse ?? []) {
      const names = this.#reverse.get(address);
      names?.delete(key);
      if (names?.size === 0) this.#reverse.delete(address);
    }
    this.#services.delete(key);
    this.generation++;
    if (!service) return;
    const record = this.#compile(service, slices);
    this.#services.set(key, record);
    const own = new Map<string, string>();
    for (const e of record.endpoints) own.set(reverseKey(e.address), `${e.hostname}.${record.name}`);
    for (const a of record.addresses) own.set(reverseKey(a), record.name);
    for (const [address, name] of own) this.#reverse.set(address, (this.#reverse.get(address) ?? new Map<string, string>()).set(key, name));
  }

  /** A pod's address comes (1) or goes (-1); only used where pods are verified. */
  countPod(namespace: string, ip: string, by: 1 | -1): void {
    const bytes = addressBytes(ip);
    if (!bytes) return;
    const key = `${namespace}/${reverseKey(bytes)}`;
    const n = (this.#podAddresses.get(key) ?? 0) + by;
    if (n > 0) this.#podAddresses.set(key, n);
    else this.#podAddresses.delete(key);
    this.generation++;
  }

  #compile(service: coreV1.Service, slices: readonly discoveryV1.EndpointSlice[]): ServiceRecord {
    const { spec, metadata } = service;
    const name = `${metadata.name}.${metadata.namespace}.svc.${this.domain}`.toLowerCase();
    const external = spec?.type === "ExternalName";
    const ips = external ? [] : spec?.clusterIPs?.length ? spec.clusterIPs : [spec?.clusterIP ?? ""];
    const addresses = ips.flatMap((ip) => addressBytes(ip) ?? []);
    const endpoints = slices.flatMap(endpointRecords);
    return {
      name,
      namespace: metadata.namespace!,
      addresses,
      ports: (spec?.ports ?? []).map((p) => ({ name: p.name ?? "", protocol: (p.protocol ?? "TCP").toLowerCase(), port: p.port })),
      headless: !external && ips.includes("None"),
      externalName: external ? spec.externalName?.toLowerCase().replace(/\.$/, "") : undefined,
      endpoints,
      reverse: [...new Set([...addresses, ...endpoints.map((e) => e.address)].map(reverseKey))],
    };
  }

  /** Whether the name is ours to answer. */
  owns(name: string): boolean {
    return name === this.domain || name.endsWith(`.${this.domain}`);
  }

  /** The answer for a name of the zone; `external` is set where the rest is to be found elsewhere. */
  lookup(name: string, type: number): Reply & { external?: string } {
    const labels = name === this.domain ? [] : name.slice(0, -this.domain.length - 1).split(".");
    const service = this.#externalService(labels);
    if (service?.externalName) {
      const cname: ResourceRecord = { name, ttl: this.ttl, data: { type: "CNAME", target: service.externalName } };
      return { rcode: RCODE.NOERROR, authoritative: true, answers: [cname], external: service.externalName };
    }
    const found = this.#find(labels, type);
    if (found === "no such name") return { rcode: RCODE.NXDOMAIN, authoritative: true, answers: [], authorities: [this.#soa()] };
    const wanted = found.records.filter((r) => type === TYPE.ANY || TYPE[r.data.type] === type);
    if (wanted.length === 0) return { rcode: RCODE.NOERROR, authoritative: true, answers: [], authorities: [this.#soa()] };
    const about = new Map(wanted.flatMap((r) => r.about ?? []).map((r) => [`${r.name} ${JSON.stringify(r.data)}`, r]));
    return {
      rcode: RCODE.NOERROR,
      authoritative: true,
      answers: wanted.map((r) => ({ name, ttl: this.ttl, data: r.data })),
      additionals: [...about.values()],
    };
  }

  /** The answer for a name below in-addr.arpa or ip6.arpa; undefined where the address is none of ours. */
  reverse(name: string, type: number): Reply | undefined {
    const key = addressOfReverse(name);
    const names = key === undefined ? undefined : this.#reverse.get(key);
    if (!names) return undefined;
    const targets = type === TYPE.PTR || type === TYPE.ANY ? [...new Set(names.values())].sort() : [];
    return {
      rcode: RCODE.NOERROR,
      authoritative: true,
      answers: targets.map((target) => ({ name, ttl: this.ttl, data: { type: "PTR", target } })),
      ...(targets.length === 0 ? { authorities: [this.#soa()] } : {}),
    };
  }

  #soa(): ResourceRecord {
    const [mname, rname] = [`ns.dns.${this.domain}`, `hostmaster.${this.domain}`];
    return {
      name: this.domain,
      ttl: this.ttl,
      data: { type: "SOA", mname, rname, numbers: [this.generation, 7200, 1800, 86400, this.ttl] },
    };
  }

  #externalService(labels: readonly string[]): ServiceRecord | undefined {
    if (labels.length !== 3 || labels[2] !== "svc") return undefined;
    return this.#services.get(`${labels[1]}/${labels[0]}`);
  }

  #find(labels: readonly string[], type: number): Found {
    const last = labels.at(-1);
    switch (labels.length) {
      case 0:
        return { records: [{ data: this.#soa().data }, { data: { type: "NS", target: `ns.dns.${this.domain}` } }] };
      case 1:
        if (last === "dns-version") return { records: [{ data: { type: "TXT", text: version } }] };
        // Names that only have others below them are there, and stand for nothing.
        return last === "svc" || last === "pod" || last === "dns" ? { records: [] } : "no such name";
      case 2:
        if (last === "dns") return labels[0] === "ns" ? this.#nameServer() : "no such name";
        return (last === "svc" || last === "pod") && this.#namespaces.has(labels[0]!) ? { records: [] } : "no such name";
      default:
        if (last === "pod") return labels.length === 3 ? this.#pod(labels[0]!, labels[1]!) : "no such name";
        return last === "svc" ? this.#service(labels, type) : "no such name";
    }
  }

  #nameServer(): Found {
    const own = this.#services.get("kube-system/kube-dns");
    return { records: (own?.addresses ?? []).map((a) => ({ data: addressRecord(a) })) };
  }

  #pod(label: string, namespace: string): Found {
    const address = addressBytes(label.replaceAll("-", ".")) ?? addressBytes(label.replaceAll("-", ":"));
    if (!address || !this.#namespaces.has(namespace)) return "no such name";
    if (this.#pods === "verified" && !this.#podAddresses.has(`${namespace}/${reverseKey(address)}`)) return "no such name";
    return { records: [{ data: addressRecord(address) }] };
  }

  #service(labels: readonly string[], type: number): Found {
    const service = this.#services.get(`${labels.at(-2)}/${labels.at(-3)}`);
    if (!service || service.externalName !== undefined) return "no such name";
    if (service.headless && service.endpoints.length === 0) return "no such name";
    if (labels.length === 3) {
      const addresses = service.headless ? service.endpoints.map((e) => e.address) : service.addresses;
      const records: RecordSet[] = unique(addresses).map((a) => ({ data: addressRecord(a) }));
      return { records: type === TYPE.SRV ? this.#srv(service, () => true) : records };
    }
    if (labels.length === 4) {
      // _tcp has the ports' names below it; anything else is an endpoint.
      if (labels[0]!.startsWith("_")) {
        const protocol = labels[0]!.slice(1);
        return portsOf(service).some((p) => p.protocol === protocol) ? { records: [] } : "no such name";
      }
      const own = service.endpoints.filter((e) => e.hostname === labels[0]);
      if (own.length === 0) return "no such name";
      if (type === TYPE.SRV) return { records: this.#srv({ ...service, headless: true, endpoints: own }, () => true) };
      return { records: unique(own.map((e) => e.address)).map((a) => ({ data: addressRecord(a) })) };
    }
    if (labels.length === 5 && labels[0]!.startsWith("_") && labels[1]!.startsWith("_")) {
      const [name, protocol] = [labels[0]!.slice(1), labels[1]!.slice(1)];
      const records = this.#srv(service, (p) => p.name === name && p.protocol === protocol);
      return records.length > 0 ? { records } : "no such name";
    }
    return "no such name";
  }

  #srv(service: ServiceRecord, matches: (port: { name: string; protocol: string }) => boolean): RecordSet[] {
    const found: { target: string; port: number; addresses: readonly Uint8Array[] }[] = [];
    if (!service.headless)
      for (const p of service.ports.filter(matches)) found.push({ target: service.name, port: p.port, addresses: service.addresses });
    else
      for (const e of service.endpoints)
        for (const p of e.ports.filter(matches))
          found.push({ target: `${e.hostname}.${service.name}`, port: p.port, addresses: [e.address] });
    const weight = Math.max(1, Math.floor(maxSrvWeight / Math.max(1, found.length)));
    return found.map(({ target, port, addresses }) => ({
      data: { type: "SRV", priority: 0, weight, port, target },
      about: addresses.map((a) => ({ name: target, ttl: this.ttl, data: addressRecord(a) })),
    }));
  }
}

const portsOf = (service: ServiceRecord) => (service.headless ? service.endpoints.flatMap((e) => e.ports) : service.ports);

function unique(addresses: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(addresses.map((a) => [reverseKey(a), a])).values()];
}

/** Endpoints that are ready; one without a host name goes by its address. */
function endpointRecords(slice: discoveryV1.EndpointSlice): EndpointRecord[] {
  const ports = (slice.ports ?? []).map((p) => ({ name: p.name ?? "", protocol: (p.protocol ?? "TCP").toLowerCase(), port: p.port ?? 0 }));
  return (slice.endpoints ?? [])
    .filter((e) => e.conditions?.ready ?? true)
    .flatMap((e) =>
      e.addresses.flatMap((ip) => {
        const address = addressBytes(ip);
        return address ? [{ hostname: e.hostname?.toLowerCase() || ip.replace(/[.:]/g, "-"), address, ports }] : [];
      }),
    );
}
