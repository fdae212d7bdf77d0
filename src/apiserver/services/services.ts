// Services get their addresses and node ports before they are stored.
import type * as core from "../../api/gen/core/v1.ts";
import { internalError } from "../../api/status.ts";
import { logger } from "../../platform/log.ts";
import type { Claim, Hook } from "../registry/registry.ts";
import type { Fresh, Stored } from "../registry/strategy.ts";
import { AllocationError, type PortRange } from "./allocator.ts";
import { type ClusterIpOptions, ClusterIps, refuse } from "./cluster-ips.ts";
import { NodePorts } from "./node-ports.ts";
import { needsPlan, nodePortsOf, PortRefused, planPorts, wantsHealthPort } from "./port-plan.ts";

const log = logger("kube-apiserver");
/** Milliseconds between two repairs (upstream's). */
const REPAIR = 180_000;

export interface ServiceAllocationOptions extends ClusterIpOptions {
  nodePorts: PortRange;
}

type Spec = core.ServiceSpec;

export class ServiceAllocation implements Hook {
  readonly #options: ServiceAllocationOptions;
  readonly #addresses: ClusterIps;
  readonly #ports: NodePorts;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: ServiceAllocationOptions) {
    this.#options = options;
    this.#addresses = new ClusterIps(options);
    this.#ports = new NodePorts({ storage: options.storage, range: options.nodePorts, used: () => this.#used() });
  }

  /** Sees to what other servers, or earlier versions, left; now and every few minutes. */
  async start(): Promise<void> {
    await this.repair();
    this.#timer = setInterval(() => {
      this.repair().catch((error: unknown) => log.error("Addresses and ports of services were not checked", error));
    }, REPAIR);
    this.#timer.unref?.();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async repair(): Promise<void> {
    await Promise.all([this.#addresses.repair(), this.#ports.repair()]);
  }

  create(service: Fresh): Promise<Claim> {
    return this.#claim(service, undefined);
  }

  update(next: Fresh, old: Stored): Promise<Claim> {
    return this.#claim(next, old.spec as Spec);
  }

  async delete(service: Stored): Promise<Claim> {
    const along = await this.#addresses.leave(service);
    return { along, settle: async (stored) => (stored ? this.#release(nodePortsOf(service.spec as Spec)) : undefined) };
  }

  async #claim(service: Fresh, before: Spec | undefined): Promise<Claim> {
    const spec = service.spec as Spec;
    const { along, end } = await this.#addresses.assign(service, before);
    const held = nodePortsOf(before);
    try {
      await this.#assignPorts(service, spec, before);
    } catch (error) {
      end();
      throw error;
    }
    const ports = nodePortsOf(spec);
    return {
      along,
      settle: async (stored) => {
        end();
        // Where nobody knows, both may be in use; repair finds out.
        if (stored === true) await this.#release(held.difference(ports));
        if (stored === false) await this.#release(ports.difference(held));
      },
    };
  }

  async #assignPorts(service: Fresh, spec: Spec, before: Spec | undefined): Promise<void> {
    if (!wantsHealthPort(spec) && spec.type !== "LoadBalancer") delete spec.healthCheckNodePort;
    if (!needsPlan(spec, before)) return;
    try {
      const plan = await this.#ports.change((taken) => planPorts(spec, before, taken));
      for (const [i, p] of (spec.ports ?? []).entries()) if (plan.ports[i]) p.nodePort = plan.ports[i];
      if (plan.health) spec.healthCheckNodePort = plan.health;
    } catch (error) {
      if (error instanceof PortRefused) refuse(service, error.field, error.port, error.message);
      if (error instanceof AllocationError) throw internalError(`failed to allocate a nodePort: ${error.message}`);
      throw error;
    }
  }

  /** The answer has been decided, so a store that is away for the moment leaves it to repair. */
  async #release(ports: Set<number>): Promise<void> {
    if (ports.size === 0) return;
    await this.#ports.release(ports).catch((error: unknown) => log.error("Node ports were not given back", error, { ports: [...ports] }));
  }

  #used(): Set<number> {
    const used = new Set<number>();
    for (const { object } of this.#options.resources.need("", "v1", "services").bucket.all())
      for (const port of nodePortsOf((object as unknown as core.Service).spec)) used.add(port);
    return used;
  }
}
