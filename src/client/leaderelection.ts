// Leader election by a Lease (k8s.io/client-go/tools/leaderelection): one of
// several instances holds it, renews it, and stops working when it can't.
import type * as coordinationV1 from "../api/gen/coordination/v1.ts";
import { isNotFound } from "../api/status.ts";
import { type Logger, logger } from "../platform/log.ts";
import { type Clock, microTimestamp, realClock, wait } from "./clock.ts";
import { leases } from "./resources.ts";
import type { ApiTransport } from "./transport.ts";

export interface LeaderElectionOptions {
  namespace: string;
  name: string;
  /** Unique to this instance: "<host>_<uuid>". */
  identity: string;
  /** Milliseconds that others wait after the last renewal they saw. Default 15 s. */
  leaseDuration?: number;
  /** Milliseconds that the leader tries to renew before it gives up. Default 10 s. */
  renewDeadline?: number;
  /** Milliseconds between tries. Default 2 s. */
  retryPeriod?: number;
  /** Called once it leads; the signal aborts when it no longer does. */
  onStartedLeading(signal: AbortSignal): void;
  onStoppedLeading(): void;
  onNewLeader?(identity: string): void;
  clock?: Clock;
  log?: Logger;
}

/** Retries spread by up to this much of the period, so that the candidates do not march in step. */
const jitterFactor = 1.2;

export class LeaderElector {
  readonly #transport: ApiTransport;
  readonly #options: LeaderElectionOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #leaseDuration: number;
  readonly #renewDeadline: number;
  readonly #retryPeriod: number;
  /** The record last seen, and when this instance's own clock saw it change. */
  #observed: { lease?: coordinationV1.Lease; text: string; at: number } = { text: "", at: 0 };
  #reported: string | undefined;

  /** Throws a RangeError when the periods do not nest: lease > deadline > period × 1.2. */
  constructor(transport: ApiTransport, options: LeaderElectionOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#log = options.log ?? logger("leaderelection");
    this.#leaseDuration = options.leaseDuration ?? 15_000;
    this.#renewDeadline = options.renewDeadline ?? 10_000;
    this.#retryPeriod = options.retryPeriod ?? 2_000;
    if (this.#leaseDuration <= this.#renewDeadline) throw new RangeError("leaseDuration must be greater than renewDeadline");
    if (this.#renewDeadline <= jitterFactor * this.#retryPeriod)
      throw new RangeError("renewDeadline must be greater than retryPeriod*JitterFactor");
  }

  get isLeader(): boolean {
    return this.#observed.lease?.spec.holderIdentity === this.#options.identity;
  }

  /** Stands for election until the signal aborts, or until a lead is lost. A held lease is released at the end. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !(await this.#try())) {
      await wait(this.#clock, this.#retryPeriod * (1 + Math.random() * jitterFactor), signal);
    }
    if (signal.aborted && !this.isLeader) return;
    this.#log.info("Successfully acquired lease", { lock: `${this.#options.namespace}/${this.#options.name}` });
    const leading = new AbortController();
    const end = () => leading.abort();
    signal.addEventListener("abort", end, { once: true });
    if (!signal.aborted) this.#options.onStartedLeading(leading.signal);
    try {
      await this.#renew(signal);
    } finally {
      signal.removeEventListener("abort", end);
      leading.abort();
      this.#options.onStoppedLeading();
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    let renewed = this.#clock.now();
    while (!signal.aborted) {
      await wait(this.#clock, this.#retryPeriod, signal);
      if (signal.aborted) break;
      if (await this.#try()) renewed = this.#clock.now();
      else if (this.#clock.now() - renewed >= this.#renewDeadline) {
        this.#log.error("Failed to renew lease", undefined, { lock: `${this.#options.namespace}/${this.#options.name}` });
        return;
      }
    }
    await this.#release();
  }

  /** One try to get or keep the lease. False, never a throw, when it is not ours. */
  async #try(): Promise<boolean> {
    const { namespace, name, identity } = this.#options;
    const now = this.#clock.now();
    const spec: coordinationV1.LeaseSpec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.round(this.#leaseDuration / 1000),
      acquireTime: microTimestamp(now),
      renewTime: microTimestamp(now),
      leaseTransitions: 0,
    };
    try {
      let held: coordinationV1.Lease;
      try {
        // The leader writes over what it wrote last; only a conflict makes it look.
        held = this.isLeader ? this.#observed.lease! : await this.#transport.get<coordinationV1.Lease>({ ...leases, namespace, name });
      } catch (error) {
        if (!isNotFound(error)) throw error;
        const made = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { namespace, name }, spec };
        this.#observe(await this.#transport.create<coordinationV1.Lease>({ ...leases, namespace }, made));
        return true;
      }
      this.#observe(held);
      const holder = held.spec.holderIdentity ?? "";
      const ours = holder === identity;
      const duration = (held.spec.leaseDurationSeconds ?? 0) * 1000;
      if (!ours && holder !== "" && this.#observed.at + Math.max(duration, 1) > now) return false;
      spec.acquireTime = ours ? held.spec.acquireTime : spec.acquireTime;
      spec.leaseTransitions = (held.spec.leaseTransitions ?? 0) + (ours ? 0 : 1);
      const next = { ...held, spec: { ...held.spec, ...spec } };
      try {
        this.#observe(await this.#transport.update<coordinationV1.Lease>({ ...leases, namespace, name }, next));
        return true;
      } catch (error) {
        // What we believed is old: look before the next try.
        this.#observed = { text: "", at: now };
        throw error;
      }
    } catch (error) {
      this.#log.info(
        "Could not get or renew the lease",
        { lock: `${namespace}/${name}`, err: error instanceof Error ? error.message : String(error) },
        2,
      );
      return false;
    }
  }

  #observe(lease: coordinationV1.Lease): void {
    const text = JSON.stringify(lease.spec);
    if (text !== this.#observed.text) this.#observed = { lease, text, at: this.#clock.now() };
    else this.#observed.lease = lease;
    const holder = lease.spec.holderIdentity ?? "";
    if (holder === this.#reported) return;
    this.#reported = holder;
    this.#options.onNewLeader?.(holder);
  }

  /** Lets others take over at once instead of after the lease's duration. */
  async #release(): Promise<void> {
    const { lease } = this.#observed;
    if (!lease || !this.isLeader) return;
    const { namespace, name } = this.#options;
    const now = microTimestamp(this.#clock.now());
    const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1, renewTime: now, acquireTime: now };
    try {
      await this.#transport.update({ ...leases, namespace, name }, { ...lease, spec });
    } catch (error) {
      this.#log.warn("Could not release the lease", { err: error instanceof Error ? error.message : String(error) });
    }
    this.#observed = { text: "", at: 0 };
  }
}
