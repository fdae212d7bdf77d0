// Services get their addresses and node ports before they are stored. Addresses
// are IPAddress objects, so that several apiservers never give one out twice.
import type * as core from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { type FieldError, internalError, invalid } from "../../api/status.ts";
import { logger } from "../../platform/log.ts";
import { type Claim, type Hook, timestamp } from "../registry/registry.ts";
import type { Resources } from "../registry/resources.ts";
import type { Fresh, Stored } from "../registry/strategy.ts";
import type { Bucket } from "../storage/bucket.ts";
import type { Storage } from "../storage/storage.ts";
import { AllocationError, checkAddress, checkPort, freeAddress, freePort, type PortRange } from "./allocator.ts";
import { type Family, type Network, parseAddress } from "./ip.ts";

const log = logger("kube-apiserver");

export interface ServiceAllocationOptions {
  storage: Storage;
  resources: Resources;
  /** Of each family at most one; the first is the cluster's own. */
  networks: readonly Network[];
  nodePorts: PortRange;
  now(): number;
}

type Spec = core.ServiceSpec;

const notGivenBack = (ip: string, error: unknown) => log.error("An address was not given back", error, { ip });

const needsAddress = (spec: Spec): boolean => spec.type !== "ExternalName" && spec.clusterIP !== "None";
const needsPorts = (spec: Spec): boolean =>
  spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
const needsHealthPort = (spec: Spec): boolean => spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
const addresses = (spec: Spec | undefined): string[] =>
  (spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])).filter((ip) => ip !== "" && ip !== "None");

function refuse(service: KubeObject, field: string, value: unknown, why: string): never {
  const error: FieldError = { reason: "FieldValueInvalid", field, message: `Invalid value: ${JSON.stringify(value)}: ${why}` };
  throw invalid({ kind: "Service" }, service.metadata.name ?? "", [error]);
}

export class ServiceAllocation implements Hook {
  readonly #options: ServiceAllocationOptions;
  /** Node ports of writes that are under way, "TCP/30080". */
  readonly #reserved = new Set<string>();

  constructor(options: ServiceAllocationOptions) {
    this.#options = options;
  }

  get #addresses() {
    return this.#options.resources.need("networking.k8s.io", "v1", "ipaddresses").bucket;
  }
  get #services() {
    return this.#options.resources.need("", "v1", "services").bucket;
  }

  /** Takes care of services from before, and of addresses whose service is gone. */
  async repair(): Promise<void> {
    const { storage } = this.#options;
    const used = new Set<string>();
    const missing: { bucket: Bucket; key: string; object: KubeObject }[] = [];
    for (const { object } of this.#services.all())
      for (const ip of addresses((object as unknown as core.Service).spec)) {
        used.add(ip);
        if (!this.#addresses.get(ip)) missing.push({ bucket: this.#addresses, key: ip, object: this.#addressObject(ip, object) });
      }
    if (missing.length) await storage.createAll(missing);
    for (const { object } of this.#addresses.all()) {
      const { name = "", creationTimestamp = "" } = object.metadata;
      const old = Date.parse(creationTimestamp) < this.#options.now() - 60_000;
      if (!used.has(name) && old && isOurs(object as Stored)) await this.#free(name);
    }
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

  create(service: Fresh): Promise<Claim> {
    return this.#claim(service, undefined);
  }

  update(next: Fresh, old: Stored): Promise<Claim> {
    return this.#claim(next, old.spec as Spec);
  }

  async #claim(service: Fresh, before: Spec | undefined): Promise<Claim> {
    const spec = service.spec as Spec;
    const undo: (() => void)[] = [];
    const release = () => {
      for (const f of undo.splice(0)) f();
    };
    try {
      await this.#assignAddresses(service, spec, before, undo);
      this.#assignPorts(service, spec, before, undo);
    } catch (error) {
      release();
      throw error;
    }
    const kept = new Set(addresses(spec));
    return { release, commit: () => this.#giveBack(addresses(before).filter((ip) => !kept.has(ip))) };
  }

  /** A service that no longer uses an address gives it back once that is stored. */
  deleted(service: Stored): void {
    this.#giveBack(addresses(service.spec));
  }

  #giveBack(ips: readonly string[]): void {
    for (const ip of ips) this.#free(ip).catch((error: unknown) => notGivenBack(ip, error));
  }

  async #free(ip: string): Promise<void> {
    await this.#options.storage.update(this.#addresses, ip, (current) => (current ? { delete: true } : { keep: true }));
  }

  /**
   * Takes over an address that is held for this very service while there is no
   * such service: whoever took it died before the service was stored, or is
   * about to store it. The new uid keeps the other one from giving it back.
   */
  async #adopt(service: Fresh, ip: string): Promise<boolean> {
    const { namespace, name } = service.metadata;
    if (this.#services.get(`${namespace}/${name}`)) return false;
    const { changed } = await this.#options.storage.update(this.#addresses, ip, (current) => {
      const parent = (current?.object as { spec?: { parentRef?: Record<string, string> } } | undefined)?.spec?.parentRef;
      const own = parent?.resource === "services" && parent.namespace === namespace && parent.name === name;
      return own && isOurs(current!.object as Stored) ? { put: this.#addressObject(ip, service) } : { keep: true };
    });
    return changed;
  }

  /** Gives back an address that was taken for a service that isn't stored after all. */
  async #release(ip: string, uid: string | undefined): Promise<void> {
    await this.#options.storage.update(this.#addresses, ip, (current) =>
      current?.object.metadata.uid === uid ? { delete: true } : { keep: true },
    );
  }

  async #assignAddresses(service: Fresh, spec: Spec, before: Spec | undefined, undo: (() => void)[]): Promise<void> {
    const { networks } = this.#options;
    if (spec.type === "ExternalName") {
      for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] as const) delete spec[field];
      return;
    }
    const families = this.#families(service, spec);
    spec.ipFamilies = families;
    spec.ipFamilyPolicy ??= "SingleStack";
    if (!needsAddress(spec)) {
      spec.clusterIP = "None";
      spec.clusterIPs = ["None"];
      return;
    }
    const held = new Set(addresses(before));
    const asked = addresses(spec);
    const given: string[] = [];
    for (const [i, family] of families.entries()) {
      const wanted = asked[i];
      if (wanted && held.has(wanted)) {
        given.push(wanted);
        continue;
      }
      const network = networks.find((n) => n.family === family)!;
      given.push(await this.#take(service, network, wanted, undo));
    }
    spec.clusterIPs = given;
    spec.clusterIP = given[0];
  }

  #families(service: Fresh, spec: Spec): Family[] {
    const known = this.#options.networks.map((n) => n.family);
    for (const f of spec.ipFamilies ?? [])
      if (!known.includes(f as Family)) refuse(service, "spec.ipFamilies[0]", f, "not configured on this cluster");
    const first = (spec.ipFamilies?.[0] as Family | undefined) ?? parseAddress(addresses(spec)[0] ?? "")?.family ?? known[0]!;
    const wantsTwo = spec.ipFamilyPolicy === "RequireDualStack" || spec.ipFamilyPolicy === "PreferDualStack";
    if (spec.ipFamilyPolicy === "RequireDualStack" && known.length < 2)
      refuse(service, "spec.ipFamilyPolicy", spec.ipFamilyPolicy, "this cluster is not configured for dual-stack services");
    return wantsTwo ? [first, ...known.filter((f) => f !== first)] : [first];
  }

  /** Creates the IPAddress of an address that is free or asked for. */
  async #take(service: Fresh, network: Network, wanted: string | undefined, undo: (() => void)[]): Promise<string> {
    const bucket = this.#addresses;
    const lost = new Set<string>();
    try {
      for (;;) {
        const ip = wanted ? checkAddress([network], wanted) : freeAddress(network, (x) => lost.has(x) || bucket.get(x) !== undefined);
        const object = this.#addressObject(ip, service);
        if (await this.#options.storage.create(bucket, ip, object)) {
          undo.push(() => this.#release(ip, object.metadata.uid).catch((error: unknown) => notGivenBack(ip, error)));
          return ip;
        }
        if (wanted && (await this.#adopt(service, ip))) return ip;
        if (wanted) throw new AllocationError("provided IP is already allocated");
        lost.add(ip);
      }
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      if (!wanted) throw internalError(`failed to allocate a serviceIP: ${error.message}`);
      return refuse(service, "spec.clusterIPs", [wanted], `failed to allocate IP ${wanted}: ${error.message}`);
    }
  }

  #assignPorts(service: Fresh, spec: Spec, before: Spec | undefined, undo: (() => void)[]): void {
    const range = this.#options.nodePorts;
    const own = `${service.metadata.namespace}/${service.metadata.name}`;
    const taken = this.#takenPorts(own);
    const isTaken = (protocol: string, port: number) => taken.has(`${protocol}/${port}`) || this.#reserved.has(`${protocol}/${port}`);
    const reserve = (protocol: string, port: number) => {
      const key = `${protocol}/${port}`;
      this.#reserved.add(key);
      // Once stored it is found in the cache; the reservation only bridges the time until then.
      setTimeout(() => this.#reserved.delete(key), 5000).unref?.();
      undo.push(() => this.#reserved.delete(key));
    };
    const held = new Set((before?.ports ?? []).map((p) => `${p.protocol ?? "TCP"}/${p.nodePort ?? 0}`));
    if (!needsPorts(spec)) return this.#healthPort(service, spec, before, isTaken, reserve);
    for (const [i, p] of (spec.ports ?? []).entries()) {
      const protocol = p.protocol ?? "TCP";
      if (p.nodePort && held.has(`${protocol}/${p.nodePort}`)) continue;
      try {
        if (p.nodePort) {
          checkPort(range, p.nodePort);
          if (isTaken(protocol, p.nodePort)) throw new AllocationError("provided port is already allocated");
        } else {
          // One number for TCP and UDP of the same port, as DNS has it.
          const twin = spec.ports!.find((q) => q !== p && q.port === p.port && q.nodePort && !isTaken(protocol, q.nodePort));
          p.nodePort = twin?.nodePort ?? freePort(range, (n) => isTaken(protocol, n) || held.has(`${protocol}/${n}`));
        }
        reserve(protocol, p.nodePort);
      } catch (error) {
        if (!(error instanceof AllocationError)) throw error;
        if (!p.nodePort) throw internalError(`failed to allocate a nodePort: ${error.message}`);
        refuse(service, `spec.ports[${i}].nodePort`, p.nodePort, error.message);
      }
    }
    this.#healthPort(service, spec, before, isTaken, reserve);
  }

  #healthPort(
    service: Fresh,
    spec: Spec,
    before: Spec | undefined,
    isTaken: (protocol: string, port: number) => boolean,
    reserve: (protocol: string, port: number) => void,
  ): void {
    if (!needsHealthPort(spec)) {
      if (spec.type !== "LoadBalancer") delete spec.healthCheckNodePort;
      return;
    }
    if (spec.healthCheckNodePort && spec.healthCheckNodePort === before?.healthCheckNodePort) return;
    const range = this.#options.nodePorts;
    if (spec.healthCheckNodePort) {
      if (isTaken("TCP", spec.healthCheckNodePort))
        refuse(service, "spec.healthCheckNodePort", spec.healthCheckNodePort, "provided port is already allocated");
    } else spec.healthCheckNodePort = freePort(range, (n) => isTaken("TCP", n));
    reserve("TCP", spec.healthCheckNodePort);
  }

  #takenPorts(except: string): Set<string> {
    const taken = new Set<string>();
    for (const { key, object } of this.#services.all()) {
      if (key === except) continue;
      const { spec } = object as unknown as core.Service;
      for (const p of spec.ports ?? []) if (p.nodePort) taken.add(`${p.protocol ?? "TCP"}/${p.nodePort}`);
      if (spec.healthCheckNodePort) taken.add(`TCP/${spec.healthCheckNodePort}`);
    }
    return taken;
  }
}

const managedBy = "ipallocator.k8s.io";
const isOurs = (ip: Stored): boolean => ip.metadata.labels?.["ipaddress.kubernetes.io/managed-by"] === managedBy;
