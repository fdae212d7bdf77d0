// Event recorders: core v1 events as the kubelet and the controllers write
// them (client-go/tools/record), and events.k8s.io/v1 as the scheduler does
// (client-go/tools/events). Both count repetitions instead of writing them.
import { hostname } from "node:os";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as eventsV1 from "../api/gen/events/v1.ts";
import type { GroupVersionKind, KubeObject } from "../api/object.ts";
import { apiVersion } from "../api/object.ts";
import { isNotFound, StatusError } from "../api/status.ts";
import { type Logger, logger } from "../platform/log.ts";
import { type Clock, microTimestamp, realClock, timestamp } from "./clock.ts";
import { coreEvents, events } from "./resources.ts";
import type { ApiTransport } from "./transport.ts";
import { BucketLimiter } from "./workqueue.ts";

export type EventType = "Normal" | "Warning";

export interface EventDetails {
  /** What was done or tried: "Binding". Only in events.k8s.io/v1, where it is required. */
  action?: string;
  related?: coreV1.ObjectReference;
  annotations?: Record<string, string>;
}

export interface EventSink {
  /** Never throws and never waits: an event that can't be written is dropped. */
  event(regarding: coreV1.ObjectReference, type: EventType, reason: string, message: string, details?: EventDetails): void;
}

export interface RecorderOptions {
  /** The component that reports: "deployment-controller", "kubelet". */
  component: string;
  /** The node, for the kubelet's; the instance in events.k8s.io/v1. */
  host?: string;
  clock?: Clock;
  log?: Logger;
}

/** A reference to an object whose kind is known, as lists leave it out. */
export function referenceTo(object: KubeObject, kind?: GroupVersionKind, fieldPath?: string): coreV1.ObjectReference {
  const m = object.metadata;
  return {
    kind: kind?.kind ?? object.kind,
    ...(m.namespace ? { namespace: m.namespace } : {}),
    name: m.name,
    uid: m.uid,
    apiVersion: kind ? apiVersion(kind) : object.apiVersion,
    ...(m.resourceVersion ? { resourceVersion: m.resourceVersion } : {}),
    ...(fieldPath ? { fieldPath } : {}),
  };
}

const maxKeys = 4096;
const maxTries = 12;
const maxQueued = 1000;

/** A map that forgets what was used least lately. */
class Recent<V> {
  readonly #map = new Map<string, V>();
  get(key: string): V | undefined {
    const value = this.#map.get(key);
    if (value === undefined) return undefined;
    this.#map.delete(key);
    this.#map.set(key, value);
    return value;
  }
  set(key: string, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    if (this.#map.size > maxKeys) this.#map.delete(this.#map.keys().next().value!);
  }
  delete(key: string): void {
    this.#map.delete(key);
  }
  values(): Iterable<[string, V]> {
    return this.#map;
  }
}

/** Writes one after the other, so that a count never overtakes its event. */
abstract class Writer {
  protected readonly transport: ApiTransport;
  protected readonly options: RecorderOptions;
  protected readonly clock: Clock;
  readonly #log: Logger;
  readonly #queue: (() => Promise<void>)[] = [];
  #busy: Promise<void> | undefined;
  #stopped = false;

  constructor(transport: ApiTransport, options: RecorderOptions) {
    this.transport = transport;
    this.options = options;
    this.clock = options.clock ?? realClock;
    this.#log = options.log ?? logger(options.component);
  }

  protected enqueue(write: () => Promise<void>): void {
    if (this.#stopped) return;
    if (this.#queue.length >= maxQueued) {
      this.#log.warn("Dropped an event, too many are waiting to be written");
      return;
    }
    this.#queue.push(write);
    this.#busy ??= this.#drain();
  }

  async #drain(): Promise<void> {
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      for (let attempt = 1; ; attempt++) {
        try {
          await next();
          break;
        } catch (error) {
          // What the server refuses it refuses again; only a server that is away is worth another try.
          if (error instanceof StatusError || attempt >= maxTries || this.#stopped) {
            const err = error instanceof Error ? error.message : String(error);
            // Events of a namespace on its way out have nowhere to go.
            if (error instanceof StatusError && error.code === 403) this.#log.info("An event was refused", { err }, 4);
            else this.#log.warn("Could not write an event", { err });
            break;
          }
          await new Promise<void>((resolve) => this.clock.after(10_000 * Math.random(), resolve));
        }
      }
    }
    this.#busy = undefined;
  }

  /** Resolves when all recorded so far is written or dropped. */
  async flush(): Promise<void> {
    await this.#busy;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queue.length = 0;
    await Promise.race([this.#busy, new Promise((resolve) => setTimeout(resolve, 500))]);
  }
}

/** Distinct messages of one reason about one object after which they become one event. */
const aggregateAfter = 10;
const aggregateInterval = 600_000;

interface Written {
  name: string;
  namespace: string;
  count: number;
  first: string;
}

/** Records core v1 events, with client-go's correlator: spam filter, aggregation, count. */
export class EventRecorder extends Writer implements EventSink {
  readonly #spam = new Recent<BucketLimiter>();
  readonly #groups = new Recent<{ messages: Set<string>; last: number }>();
  readonly #written = new Recent<Written>();
  #sequence = 0n;

  event(regarding: coreV1.ObjectReference, type: EventType, reason: string, message: string, details: EventDetails = {}): void {
    const now = this.clock.now();
    const { component, host } = this.options;
    const about = [component, host, regarding.kind, regarding.namespace, regarding.name, regarding.uid, regarding.apiVersion].join("\0");

    let bucket = this.#spam.get(about);
    if (!bucket) {
      bucket = new BucketLimiter(1 / 300, 25, this.clock);
      this.#spam.set(about, bucket);
    }

    const group = [about, type, reason].join("\0");
    const seen = this.#groups.get(group);
    const messages = seen && now - seen.last <= aggregateInterval ? seen.messages : new Set<string>();
    messages.add(message);
    this.#groups.set(group, { messages, last: now });
    const combined = messages.size > aggregateAfter;
    if (combined) messages.delete(messages.values().next().value!);
    const text = combined ? `(combined from similar events): ${message}` : message;
    const key = combined ? group : [group, regarding.fieldPath, message].join("\0");

    if (!bucket.tryTake()) return;
    const time = timestamp(now);
    const namespace = regarding.namespace ?? "default";
    const name = `${regarding.name}.${(BigInt(now) * 1_000_000n + (this.#sequence++ % 1_000_000n)).toString(16)}`;
    this.enqueue(async () => {
      const before = this.#written.get(key);
      if (before) {
        try {
          const patch = { count: before.count + 1, lastTimestamp: time, message: text };
          await this.transport.patch({ ...coreEvents, namespace: before.namespace, name: before.name }, "strategic", patch);
          this.#written.set(key, { ...before, count: before.count + 1 });
          return;
        } catch (error) {
          if (!isNotFound(error)) throw error;
          this.#written.delete(key);
        }
      }
      const event: coreV1.Event = {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name, namespace, ...(details.annotations ? { annotations: details.annotations } : {}) },
        involvedObject: regarding,
        reason,
        message: text,
        source: { component, ...(host ? { host } : {}) },
        firstTimestamp: time,
        lastTimestamp: time,
        count: 1,
        type,
        reportingComponent: component,
        reportingInstance: host ?? "",
      };
      await this.transport.create({ ...coreEvents, namespace }, event);
      this.#written.set(key, { name, namespace, count: 1, first: time });
    });
  }
}

/** A series ends when its event has not come again for this long. */
const seriesEnd = 360_000;

/** Records events.k8s.io/v1 events; what repeats becomes a series. */
export class SeriesRecorder extends Writer implements EventSink {
  readonly #written = new Recent<{ name: string; namespace: string; count: number; last: number }>();
  #sequence = 0n;

  event(regarding: coreV1.ObjectReference, type: EventType, reason: string, note: string, details: EventDetails = {}): void {
    const now = this.clock.now();
    const { component } = this.options;
    const instance = this.options.host ?? `${component}-${hostname()}`;
    const action = details.action ?? reason;
    const { resourceVersion: _, ...same } = regarding;
    const key = JSON.stringify([type, action, reason, component, instance, same, details.related ?? null]);
    const namespace = regarding.namespace ?? "default";
    const name = `${regarding.name}.${(BigInt(now) * 1_000_000n + (this.#sequence++ % 1_000_000n)).toString(16)}`;
    this.enqueue(async () => {
      const before = this.#written.get(key);
      if (before && now - before.last <= seriesEnd) {
        const count = before.count + 1;
        try {
          const patch = { series: { count, lastObservedTime: microTimestamp(now) } };
          await this.transport.patch({ ...events, namespace: before.namespace, name: before.name }, "merge", patch);
          this.#written.set(key, { ...before, count, last: now });
          return;
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
      const event: eventsV1.Event = {
        apiVersion: "events.k8s.io/v1",
        kind: "Event",
        metadata: { name, namespace, ...(details.annotations ? { annotations: details.annotations } : {}) },
        eventTime: microTimestamp(now),
        reportingController: component,
        reportingInstance: instance,
        action,
        reason,
        regarding,
        ...(details.related ? { related: details.related } : {}),
        note: note.length > 1024 ? note.slice(0, 1024) : note,
        type,
      };
      await this.transport.create({ ...events, namespace }, event);
      this.#written.set(key, { name, namespace, count: 1, last: now });
    });
  }
}
