// The scheduling queue: pods ready to be tried, by priority; pods that wait out
// a backoff; pods that wait for the cluster to change. A core without clock:
// every method that needs the time is told it, in milliseconds.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { Heap } from "./heap.ts";
import { type ClusterEvent, helps, type Plugin } from "./hints.ts";
import type { PodInfo } from "./pod-info.ts";

export interface Queued {
  info: PodInfo;
  readonly key: string;
  /** When it came into its queue. */
  since: number;
  readonly firstSeen: number;
  attempts: number;
  /** Plugins that turned it away the last time. */
  plugins: ReadonlySet<Plugin>;
  /** The last attempt ended in an error rather than an answer: its backoff is always waited out. */
  failed: boolean;
  backoffUntil: number;
  where: "active" | "backoff" | "unschedulable" | "gated" | "in flight";
  /** Index of the first event that it may have missed while in flight. */
  popped: number;
}

export interface QueueOptions {
  /** Milliseconds; default 1 s and 10 s. */
  initialBackoff?: number;
  maxBackoff?: number;
  /** Milliseconds after which an unschedulable pod is tried again in any case; default 5 min. */
  maxUnschedulable?: number;
}

const isGated = (pod: coreV1.Pod) => (pod.spec.schedulingGates?.length ?? 0) > 0;

export class SchedulingQueue {
  readonly #initialBackoff: number;
  readonly #maxBackoff: number;
  readonly #maxUnschedulable: number;
  readonly #pods = new Map<string, Queued>();
  readonly #active = new Heap<Queued>((a, b) =>
    a.info.priority !== b.info.priority ? a.info.priority > b.info.priority : a.since < b.since,
  );
  readonly #backoff = new Heap<Queued>((a, b) => a.backoffUntil < b.backoffUntil);
  readonly #unschedulable = new Set<Queued>();
  readonly #inFlight = new Set<Queued>();
  /** Events since the oldest pod in flight was popped. */
  #events: ClusterEvent[] = [];
  #firstEvent = 0;

  constructor(options: QueueOptions = {}) {
    this.#initialBackoff = options.initialBackoff ?? 1000;
    this.#maxBackoff = options.maxBackoff ?? 10_000;
    this.#maxUnschedulable = options.maxUnschedulable ?? 300_000;
  }

  /** How many pods are where. */
  get counts(): Record<"active" | "backoff" | "unschedulable" | "gated", number> {
    let gated = 0;
    for (const q of this.#unschedulable) if (q.where === "gated") gated++;
    return {
      active: this.#active.size,
      backoff: this.#backoff.size,
      unschedulable: this.#unschedulable.size - gated,
      gated,
    };
  }

  get(key: string): Readonly<Queued> | undefined {
    return this.#pods.get(key);
  }
  pods(): Iterable<Readonly<Queued>> {
    return this.#pods.values();
  }

  add(info: PodInfo, now: number): void {
    if (this.#pods.has(info.key)) return this.update(info, now);
    const queued: Queued = {
      info,
      key: info.key,
      since: now,
      firstSeen: now,
      attempts: 0,
      plugins: new Set(),
      failed: false,
      backoffUntil: 0,
      where: "active",
      popped: 0,
    };
    this.#pods.set(info.key, queued);
    this.#move(queued, isGated(info.pod) ? "gated" : "active", now);
  }

  /** A pod that waits has changed: what was changed in its spec or labels may let it run. */
  update(info: PodInfo, now: number): void {
    const queued = this.#pods.get(info.key);
    if (!queued) return this.add(info, now);
    const before = queued.info;
    const { where } = queued;
    if (where === "active") this.#active.delete(queued);
    queued.info = info;
    if (where === "active") this.#active.push(queued);
    else if (where === "gated") {
      if (!isGated(info.pod)) this.#move(queued, "active", now);
    } else if (where === "unschedulable" && changed(before.pod, info.pod)) this.#retry(queued, now);
  }

  remove(key: string): void {
    const queued = this.#pods.get(key);
    if (!queued) return;
    this.#leave(queued);
    this.#pods.delete(key);
  }

  /**
   * The next pod to try. When none is ready, one whose backoff runs is taken
   * early (KEP-5142), unless it waits because of an error.
   */
  pop(now: number): Queued | undefined {
    this.flush(now);
    let queued = this.#active.peek();
    if (!queued) {
      const early = this.#backoff.peek();
      if (early && !early.failed) queued = early;
    }
    if (!queued) return undefined;
    this.#move(queued, "in flight", now);
    queued.popped = this.#firstEvent + this.#events.length;
    queued.attempts++;
    return queued;
  }

  /** The pod popped has a node. */
  done(key: string): void {
    this.remove(key);
  }

  /** The pod popped fits nowhere, for what these plugins said; events that came meanwhile count. */
  reject(key: string, plugins: ReadonlySet<Plugin>, now: number): void {
    const queued = this.#pods.get(key);
    if (queued?.where !== "in flight") return;
    queued.plugins = plugins;
    queued.failed = false;
    queued.backoffUntil = now + this.#backoffOf(queued);
    const missed = this.#events.slice(queued.popped - this.#firstEvent);
    if (missed.some((event) => helps(queued.info.pod, plugins, event))) this.#move(queued, "backoff", now);
    else this.#move(queued, "unschedulable", now);
  }

  /** The attempt itself failed; the pod is tried again after its backoff. */
  fail(key: string, now: number): void {
    const queued = this.#pods.get(key);
    if (queued?.where !== "in flight") return;
    queued.plugins = new Set();
    queued.failed = true;
    queued.backoffUntil = now + this.#backoffOf(queued);
    this.#move(queued, "backoff", now);
  }

  /** Lets pods that the event may help try again; returns whether there are any. */
  event(event: ClusterEvent, now: number): boolean {
    if (this.#inFlight.size > 0) this.#events.push(event);
    let moved = false;
    for (const queued of [...this.#unschedulable]) {
      if (queued.where === "gated" || !helps(queued.info.pod, queued.plugins, event)) continue;
      this.#retry(queued, now);
      moved = true;
    }
    return moved;
  }

  /** Moves what is due. */
  flush(now: number): void {
    for (let first = this.#backoff.peek(); first && first.backoffUntil <= now; first = this.#backoff.peek())
      this.#move(first, "active", now);
    for (const queued of this.#unschedulable) {
      // Oldest first: the set keeps the order of coming.
      if (queued.where === "gated") continue;
      if (queued.since + this.#maxUnschedulable > now) break;
      this.#retry(queued, now);
    }
  }

  /** When pop() or flush() has something to do: 0 for now, undefined without any pod to wait for. */
  due(): number | undefined {
    if (this.#active.size > 0) return 0;
    const backoff = this.#backoff.peek();
    if (backoff && !backoff.failed) return 0;
    let due = backoff?.backoffUntil;
    for (const queued of this.#unschedulable) {
      if (queued.where === "gated") continue;
      due = Math.min(due ?? Number.POSITIVE_INFINITY, queued.since + this.#maxUnschedulable);
      break;
    }
    return due;
  }

  #backoffOf(queued: Queued): number {
    return Math.min(this.#maxBackoff, this.#initialBackoff * 2 ** Math.max(0, queued.attempts - 1));
  }

  #retry(queued: Queued, now: number): void {
    this.#move(queued, queued.backoffUntil > now ? "backoff" : "active", now);
  }

  #leave(queued: Queued): void {
    this.#active.delete(queued);
    this.#backoff.delete(queued);
    this.#unschedulable.delete(queued);
    if (!this.#inFlight.delete(queued)) return;
    let oldest = this.#firstEvent + this.#events.length;
    for (const other of this.#inFlight) oldest = Math.min(oldest, other.popped);
    this.#events.splice(0, oldest - this.#firstEvent);
    this.#firstEvent = oldest;
  }

  #move(queued: Queued, where: Queued["where"], now: number): void {
    this.#leave(queued);
    queued.where = where;
    if (where !== "in flight") queued.since = now;
    if (where === "active") this.#active.push(queued);
    else if (where === "backoff") this.#backoff.push(queued);
    else if (where === "in flight") this.#inFlight.add(queued);
    else this.#unschedulable.add(queued);
  }
}

function changed(before: coreV1.Pod, after: coreV1.Pod): boolean {
  const relevant = (p: coreV1.Pod) => JSON.stringify([p.spec, p.metadata.labels]);
  return relevant(before) !== relevant(after);
}
