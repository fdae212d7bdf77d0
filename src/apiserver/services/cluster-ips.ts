// Addresses of Services. Each that is taken is an IPAddress object, written and
// deleted in the Service's own transaction, so that no two Services get the same
// and none is lost, however many apiservers are on the store.
import type * as core from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { type FieldError, internalError, invalid } from "../../api/status.ts";
import { logger } from "../../platform/log.ts";
import { timestamp } from "../registry/registry.ts";
import type { Resources } from "../registry/resources.ts";
import type { Fresh, Stored } from "../registry/strategy.ts";
import type { Bucket } from "../storage/bucket.ts";
import type { Entry } from "../storage/entry.ts";
import { Overtaken } from "../storage/errors.ts";
import { objectKey } from "../storage/keys.ts";
import type { Along, Storage } from "../storage/storage.ts";
import { AllocationError, checkAddress, freeAddress } from "./allocator.ts";
import { type Family, type Network, parseAddress } from "./ip.ts";

const log = logger("kube-apiserver");
const managedBy = "ipallocator.k8s.io";
/** Milliseconds that an address may be without its Service, which other servers write after it. */
const GRACE = 60_000;

type Spec = core.ServiceSpec;

const needsAddress = (spec: Spec): boolean => spec.type !== "ExternalName" && spec.clusterIP !== "None";
export const addressesOf = (spec: Spec | undefined): string[] =>
  (spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])).filter((ip) => ip !== "" && ip !== "None");

export function refuse(service: KubeObject, field: string, value: unknown, why: string): never {
  const error: FieldError = { reason: "FieldValueInvalid", field, message: `Invalid value: ${JSON.stringify(value)}: ${why}` };
  throw invalid({ kind: "Service" }, service.metadata.name ?? "", [error]);
}

interface ParentRef {
  group?: string;
  resource?: string;
  namespace?: string;
  name?: string;
}

const parentOf = (address: Entry): ParentRef => (address.object as { spec?: { parentRef?: ParentRef } }).spec?.parentRef ?? {};
const isOurs = (address: Entry): boolean => address.object.metadata.labels?.["ipaddress.kubernetes.io/managed-by"] === managedBy;
/** Whether an address is held for a Service. */
const heldFor = (address: Entry, service: KubeObject): boolean => {
  const { resource, namespace, name } = parentOf(address);
  return isOurs(address) && resource === "services" && namespace === service.metadata.namespace && name === service.metadata.name;
};

export interface ClusterIpOptions {
  storage: Storage;
  resources: Resources;
  /** Of each family at most one; the first is the cluster's own. */
  networks: readonly Network[];
  now(): number;
}

export class ClusterIps {
  readonly #options: ClusterIpOptions;
  /** Of writes that are under way in this process; elsewhere the store decides. */
  readonly #underWay = new Set<string>();

  constructor(options: ClusterIpOptions) {
    this.#options = options;
  }

  get #addresses(): Bucket {
    return this.#options.resources.need("networking.k8s.io", "v1", "ipaddresses").bucket;
  }
  get #services(): Bucket {
    return this.#options.resources.need("", "v1", "services").bucket;
  }

  /** Gives a Service its addresses; what goes along takes them, and returns those of before that it no longer has. */
  async assign(service: Fresh, before: Spec | undefined): Promise<{ along: Along; end: () => void }> {
    const taken: string[] = [];
    const end = () => {
      for (const ip of taken.splice(0)) this.#underWay.delete(ip);
    };
    try {
      const writes = await this.#assign(service, before, taken);
      const kept = new Set(addressesOf(service.spec as Spec));
      const dropped = addressesOf(before).filter((ip) => !kept.has(ip));
      return { along: join([...writes, ...(await this.#free(service, dropped))]), end };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** What has to go along with a Service's deletion. */
  async leave(service: Stored): Promise<Along> {
    return join(await this.#free(service, addressesOf(service.spec as Spec)));
  }

  async #assign(service: Fresh, before: Spec | undefined, taken: string[]): Promise<Along[]> {
    const spec = service.spec as Spec;
    if (spec.type === "ExternalName") {
      for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] as const) delete spec[field];
      return [];
    }
    const families = this.#families(service, spec);
    spec.ipFamilies = families;
    spec.ipFamilyPolicy ??= "SingleStack";
    if (!needsAddress(spec)) {
      spec.clusterIP = "None";
      spec.clusterIPs = ["None"];
      return [];
    }
    const held = new Set(addressesOf(before));
    const asked = addressesOf(spec);
    const given: string[] = [];
    const writes: Along[] = [];
    for (const [i, family] of families.entries()) {
      const wanted = asked[i];
      if (wanted && held.has(wanted)) {
        given.push(wanted);
        continue;
      }
      const network = this.#options.networks.find((n) => n.family === family)!;
      const { ip, along } = await this.#take(service, network, wanted);
      this.#underWay.add(ip);
      taken.push(ip);
      given.push(ip);
      writes.push(along);
    }
    spec.clusterIPs = given;
    spec.clusterIP = given[0];
    return writes;
  }

  #families(service: Fresh, spec: Spec): Family[] {
    const known = this.#options.networks.map((n) => n.family);
    for (const f of spec.ipFamilies ?? [])
      if (!known.includes(f as Family)) refuse(service, "spec.ipFamilies[0]", f, "not configured on this cluster");
    const first = (spec.ipFamilies?.[0] as Family | undefined) ?? parseAddress(addressesOf(spec)[0] ?? "")?.family ?? known[0]!;
    const wantsTwo = spec.ipFamilyPolicy === "RequireDualStack" || spec.ipFamilyPolicy === "PreferDualStack";
    if (spec.ipFamilyPolicy === "RequireDualStack" && known.length < 2)
      refuse(service, "spec.ipFamilyPolicy", spec.ipFamilyPolicy, "this cluster is not configured for dual-stack services");
    return wantsTwo ? [first, ...known.filter((f) => f !== first)] : [first];
  }

  /** The write of an address that is free, or that is asked for. */
  async #take(service: Fresh, network: Network, wanted: string | undefined): Promise<{ ip: string; along: Along }> {
    const { storage } = this.#options;
    const bucket = this.#addresses;
    try {
      const ip = wanted
        ? checkAddress([network], wanted)
        : freeAddress(network, (x) => this.#underWay.has(x) || bucket.get(x) !== undefined);
      const there = wanted ? await storage.get(bucket, ip) : undefined;
      // Held for this very Service, which is not there: a server wrote it, and died before it wrote the Service.
      const orphan = there !== undefined && heldFor(there, service) && !this.#services.get(serviceKey(service));
      if (wanted && ((there && !orphan) || this.#underWay.has(ip))) throw new AllocationError("provided IP is already allocated");
      return { ip, along: storage.along(bucket, ip, there?.revision ?? 0, this.#addressObject(ip, service)) };
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      if (!wanted) throw internalError(`failed to allocate a serviceIP: ${error.message}`);
      return refuse(service, "spec.clusterIPs", [wanted], `failed to allocate IP ${wanted}: ${error.message}`);
    }
  }

  /** Deletions of those of some addresses that are held for a Service. */
  async #free(service: KubeObject, ips: readonly string[]): Promise<Along[]> {
    const { storage } = this.#options;
    const bucket = this.#addresses;
    const found = await Promise.all(ips.map((ip) => bucket.get(ip) ?? storage.get(bucket, ip)));
    return found.flatMap((address) =>
      address && heldFor(address, service) ? [storage.along(bucket, address.key, address.revision, undefined)] : [],
    );
  }

  #addressObject(ip: string, service: KubeObject): KubeObject {
    const family = parseAddress(ip)?.family ?? "IPv4";
    const { name, namespace } = service.metadata;
    return {
      kind: "IPAddress",
      apiVersion: "networking.k8s.io/v1",
      metadata: {
        name: ip,
        uid: crypto.randomUUID(),
        creationTimestamp: timestamp(this.#options.now()),
        labels: { "ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": managedBy },
      },
      spec: { parentRef: { group: "", resource: "services", namespace, name } },
    } as KubeObject;
  }

  /** Makes the addresses of Services that have none, and drops those whose Service is gone. */
  async repair(): Promise<void> {
    const { storage, now } = this.#options;
    const addresses = this.#addresses;
    const holders = new Map<string, Entry>();
    for (const service of this.#services.all())
      for (const ip of addressesOf((service.object as unknown as core.Service).spec)) {
        const other = holders.get(ip);
        if (other)
          log.error("Two services have the same address; create one of them anew", undefined, { ip, services: [other.key, service.key] });
        else holders.set(ip, service);
      }
    for (const [ip, service] of holders) if (!addresses.get(ip)) await this.#makeFor(service, ip);
    for (const address of addresses.all()) {
      const old = Date.parse(address.object.metadata.creationTimestamp ?? "") < now() - GRACE;
      if (holders.has(address.key) || !old || !isOurs(address)) continue;
      await storage.update(addresses, address.key, (current) =>
        current?.revision === address.revision ? { delete: true } : { keep: true },
      );
    }
  }

  /** Only while the Service is as it was: it may be deleted in this moment. */
  async #makeFor(service: Entry, ip: string): Promise<void> {
    const { storage } = this.#options;
    const { compare } = storage.along(this.#services, service.key, service.revision, undefined);
    try {
      await storage.create(this.#addresses, ip, this.#addressObject(ip, service.object), undefined, { compare, ops: [] });
    } catch (error) {
      // The next repair sees what became of it.
      if (!(error instanceof Overtaken)) throw error;
    }
  }
}

const serviceKey = (service: KubeObject): string => objectKey(service.metadata.namespace, service.metadata.name!);
const join = (list: readonly Along[]): Along => ({ compare: list.flatMap((a) => a.compare), ops: list.flatMap((a) => a.ops) });
