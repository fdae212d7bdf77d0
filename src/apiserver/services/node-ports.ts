// Node ports, of which no two Services get the same, however many apiservers
// are on the store: what is taken is one value of it, under upstream's key, that
// each changes only as long as it is what it knows.
import type * as core from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { logger } from "../../platform/log.ts";
import type { Bucket } from "../storage/bucket.ts";
import type { Entry } from "../storage/entry.ts";
import type { Storage } from "../storage/storage.ts";
import { AllocationError, type PortRange } from "./allocator.ts";
import { PortBitmap, rangeText } from "./port-bitmap.ts";

const log = logger("kube-apiserver");
const KEY = "servicenodeports";
/** Repairs in a row that find a port without a Service before it is given back: its Service may be on its way. */
const LEAK_REPAIRS = 3;

interface Job {
  run(taken: PortBitmap): void;
  done: PromiseWithResolvers<void>;
  /** Why it alone can't be done. */
  error: unknown;
}

export interface NodePortsOptions {
  storage: Storage;
  range: PortRange;
  /** Numbers that the cache's Services have. */
  used(): Set<number>;
}

export class NodePorts {
  readonly #options: NodePortsOptions;
  readonly #bucket: Bucket;
  #waiting: Job[] = [];
  #busy = false;
  /** Repairs that a port without a Service has left. */
  #leaks = new Map<number, number>();

  constructor(options: NodePortsOptions) {
    this.#options = options;
    this.#bucket = options.storage.addBucket("ranges");
  }

  /**
   * Changes what is taken. `job` gets what is, and is called again where another
   * server was faster. What it throws is thrown, and changes nothing.
   */
  change<T>(job: (taken: PortBitmap) => T): Promise<T> {
    let result: T;
    const entry: Job = {
      run: (taken) => {
        result = job(taken);
      },
      done: Promise.withResolvers(),
      error: undefined,
    };
    this.#waiting.push(entry);
    void this.#work();
    return entry.done.promise.then(() => result);
  }

  release(ports: Iterable<number>): Promise<void> {
    return this.change((taken) => {
      for (const port of ports) taken.clear(port);
    });
  }

  /** All that come while one write is under way share the next. */
  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting.splice(0);
      try {
        await this.#update((current) => this.#run(jobs, current));
        for (const job of jobs) job.error === undefined ? job.done.resolve() : job.done.reject(job.error);
      } catch (error) {
        for (const job of jobs) job.done.reject(error);
      }
    }
    this.#busy = false;
  }

  #run(jobs: readonly Job[], taken: PortBitmap): PortBitmap {
    for (const job of jobs) {
      const draft = taken.copy();
      try {
        job.error = undefined;
        job.run(draft);
        taken = draft;
      } catch (error) {
        job.error = error;
      }
    }
    return taken;
  }

  async #update(change: (taken: PortBitmap) => PortBitmap, otherRange = false): Promise<void> {
    const { storage, range } = this.#options;
    await storage.update(this.#bucket, KEY, async (current) => {
      const before = await this.#read(current, otherRange);
      const after = change(before.copy());
      if (current && rangeOf(current) === rangeText(range) && after.equals(before)) return { keep: true };
      return { put: { kind: "RangeAllocation", apiVersion: "v1", metadata: {}, ...after.encode() } as KubeObject };
    });
  }

  async #read(current: Entry | undefined, otherRange: boolean): Promise<PortBitmap> {
    const { storage, range, used } = this.#options;
    if (current) {
      // Upstream leaves it to repair, too, so that servers that are told different ranges don't undo each other's work.
      if (rangeOf(current) !== rangeText(range) && !otherRange)
        throw new AllocationError("the provided range does not match the current range");
      return PortBitmap.decode(range, current.object as unknown as core.RangeAllocation);
    }
    // Nobody has given a port out yet: Services from before, or of a restored store, have theirs.
    await storage.whole();
    const bitmap = new PortBitmap(range);
    for (const port of used()) bitmap.set(port);
    return bitmap;
  }

  /** Notes down ports that Services have, and gives back those that have had none for long. */
  async repair(): Promise<void> {
    const { storage, used } = this.#options;
    const stored = this.#bucket.get(KEY);
    // A cluster that never had a node port needs no list of them.
    if (!stored && used().size === 0) return;
    await storage.whole();
    const leaks = new Map<number, number>();
    const unknown = new Set<number>();
    await this.#update((taken) => {
      leaks.clear();
      unknown.clear();
      const own = used();
      for (const port of own) {
        if (!taken.has(port)) unknown.add(port);
        taken.set(port);
      }
      for (const port of taken.ports()) {
        if (own.has(port)) continue;
        const left = (this.#leaks.get(port) ?? LEAK_REPAIRS) - 1;
        if (left > 0) leaks.set(port, left);
        else taken.clear(port);
      }
      return taken;
    }, true);
    this.#leaks = leaks;
    if (unknown.size > 0) log.warn("Node ports of services were not noted as taken", { ports: [...unknown] });
  }
}

const rangeOf = (entry: Entry): string => (entry.object as unknown as core.RangeAllocation).range;
