// The shell of the scheduler: informers feed the cache and the queue, cycles run
// when pods are ready, and what they decide is written to the apiserver.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../api/status.ts";
import { type Clock, realClock, type Timer, timestamp } from "../client/clock.ts";
import { type EventSink, referenceTo, SeriesRecorder } from "../client/events.ts";
import { InformerFactory } from "../client/informer.ts";
import { nodes, pods } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import { type Logger, logger } from "../platform/log.ts";
import { Cache } from "./cache.ts";
import { maxBatch } from "./columns.ts";
import { Cycle } from "./cycle.ts";
import { diagnose } from "./diagnosis.ts";
import { type ClusterEvent, nodeEvents } from "./hints.ts";
import { Metrics } from "./metrics.ts";
import { Nominator } from "./nominator.ts";
import { hasEnded, type PodInfo, podInfo, podKey } from "./pod-info.ts";
import { preempt } from "./preemption.ts";
import { type Queued, type QueueOptions, SchedulingQueue } from "./queue.ts";

export interface SchedulerOptions {
  transport: ApiTransport;
  /** Shared with other systems of the process; its owner starts and stops it. */
  informers?: InformerFactory;
  /** Pods of this spec.schedulerName are ours. Default "default-scheduler". */
  schedulerName?: string;
  queue?: QueueOptions;
  /** Milliseconds that a bound pod counts without news of it. Default 30 s. */
  assumedTtl?: number;
  /** From 0 to less than 1; breaks ties between nodes. */
  random?: () => number;
  clock?: Clock;
  log?: Logger;
  recorder?: EventSink;
}

/** Bindings under way at the same time; more pods wait in the queue. */
const maxBindings = 128;
/** Milliseconds that cycles run before other work of the process has its turn. */
const slice = 5;

const podKind = { group: "", version: "v1", kind: "Pod" };

export class Scheduler implements Component {
  readonly name = "kube-scheduler";
  readonly metrics = new Metrics();
  readonly #transport: ApiTransport;
  readonly #informers: InformerFactory;
  readonly #ownsInformers: boolean;
  readonly #schedulerName: string;
  readonly #assumedTtl: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #recorder: EventSink;
  readonly #ownRecorder: SeriesRecorder | undefined;
  readonly #cache = new Cache();
  readonly #queue: SchedulingQueue;
  readonly #cycle: Cycle;
  readonly #nominator = new Nominator();
  readonly #undo: (() => void)[] = [];
  /** Writes under way, so that stop() can wait for them. */
  readonly #writes = new Set<Promise<void>>();
  #bindings = 0;
  #ready = false;
  #stopped = false;
  #scheduled = false;
  #timer: Timer | undefined;

  constructor(options: SchedulerOptions) {
    this.#transport = options.transport;
    this.#clock = options.clock ?? realClock;
    this.#log = options.log ?? logger("scheduler");
    this.#ownsInformers = options.informers === undefined;
    this.#informers = options.informers ?? new InformerFactory(options.transport, { clock: this.#clock, log: this.#log });
    this.#schedulerName = options.schedulerName ?? "default-scheduler";
    this.#assumedTtl = options.assumedTtl ?? 30_000;
    this.#queue = new SchedulingQueue(options.queue);
    this.#cycle = new Cycle(this.#cache, options.random ?? Math.random);
    this.#ownRecorder = options.recorder
      ? undefined
      : new SeriesRecorder(this.#transport, { component: this.#schedulerName, clock: this.#clock, log: this.#log });
    this.#recorder = options.recorder ?? this.#ownRecorder!;
  }

  async start(): Promise<void> {
    const nodeInformer = this.#informers.for(nodes);
    const podInformer = this.#informers.for(pods);
    this.#undo.push(
      nodeInformer.on({
        add: (node) => this.#nodeAdded(node),
        update: (before, node) => this.#nodeUpdated(before, node),
        delete: (node) => this.#cache.removeNode(node.metadata.name!),
      }),
      podInformer.on({
        add: (pod) => this.#podSeen(undefined, pod),
        update: (before, pod) => this.#podSeen(before, pod),
        delete: (pod) => this.#podGone(pod),
      }),
    );
    if (this.#ownsInformers) this.#informers.start();
    await Promise.all([nodeInformer.synced, podInformer.synced]);
    this.#ready = true;
    this.#wake();
  }

  notReady(): string | undefined {
    if (this.#stopped) return "stopped";
    if (!this.#ready) return this.#informers.trouble ?? "waiting for the first list of nodes and pods";
    return this.#informers.trouble;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    for (const undo of this.#undo) undo();
    if (this.#ownsInformers) await this.#informers.stop();
    await Promise.all(this.#writes);
    await this.#ownRecorder?.stop();
  }

  // What the cluster tells.

  #event(event: ClusterEvent): void {
    this.#queue.event(event, this.#clock.now());
    this.#wake();
  }

  #nodeAdded(node: coreV1.Node): void {
    this.#cache.setNode(node);
    this.#event({ resource: "node", change: "added", node });
  }

  #nodeUpdated(before: coreV1.Node, node: coreV1.Node): void {
    this.#cache.setNode(node);
    for (const event of nodeEvents(before, node)) this.#event(event);
  }

  #podSeen(before: coreV1.Pod | undefined, pod: coreV1.Pod): void {
    const key = podKey(pod);
    if (pod.spec.nodeName || hasEnded(pod)) {
      this.#queue.remove(key);
      this.#nominator.remove(key);
      this.#cache.setPod(pod);
      const ended = hasEnded(pod) && before !== undefined && !hasEnded(before);
      if (ended) this.#event({ resource: "pod", change: "removed", pod });
      else if (before?.spec.nodeName && before.metadata.generation !== pod.metadata.generation)
        this.#event({ resource: "pod", change: "resized", pod });
      return;
    }
    if ((pod.spec.schedulerName || "default-scheduler") !== this.#schedulerName || pod.metadata.deletionTimestamp) {
      this.#queue.remove(key);
      this.#nominator.remove(key);
      return;
    }
    // Its binding is on the way.
    if (this.#cache.isAssumed(key)) return;
    const info = podInfo(pod, this.#cache.columns);
    this.#nominator.observe(info);
    this.#queue.update(info, this.#clock.now());
    this.#wake();
  }

  #podGone(pod: coreV1.Pod): void {
    const key = podKey(pod);
    this.#queue.remove(key);
    const nominated = this.#nominator.remove(key);
    this.#cache.removePod(key);
    if ((pod.spec.nodeName && !hasEnded(pod)) || nominated) this.#event({ resource: "pod", change: "removed", pod });
  }

  // Cycles.

  #wake(): void {
    if (!this.#ready || this.#stopped || this.#scheduled) return;
    this.#scheduled = true;
    // After what else this event brought, so that pods which come together are one batch.
    queueMicrotask(() => this.#run());
  }

  #run(): void {
    this.#scheduled = false;
    if (this.#stopped) return;
    const now = this.#clock.now();
    for (const key of this.#cache.expire(now)) this.#log.warn("Pod was bound and not heard of again", { pod: key });
    const end = performance.now() + slice;
    while (this.#bindings < maxBindings) {
      const batch = this.#nextBatch(now);
      if (batch.length === 0) break;
      this.#decide(batch);
      if (performance.now() < end) continue;
      this.#scheduled = true;
      setImmediate(() => this.#run());
      return;
    }
    this.metrics.pending(this.#queue.counts);
    this.#sleep();
  }

  #nextBatch(now: number): Queued[] {
    const room = Math.min(maxBatch, maxBindings - this.#bindings);
    const batch: Queued[] = [];
    while (batch.length < room) {
      const queued = this.#queue.pop(now);
      if (!queued) break;
      batch.push(queued);
      // Nominated pods and host ports are looked at anew for each pod.
      if (!Cycle.batchable(queued.info) || this.#nominator.size > 0) break;
    }
    return batch;
  }

  /** Sets the timer for what the queue and the cache wait for. */
  #sleep(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#bindings >= maxBindings) return; // The next binding that ends wakes it.
    const due = [this.#queue.due(), this.#cache.nextExpiry].filter((t) => t !== undefined);
    if (due.length > 0) this.#timer = this.#clock.after(Math.max(0, Math.min(...due) - this.#clock.now()), () => this.#wake());
  }

  #decide(batch: Queued[]): void {
    const began = performance.now();
    const found =
      batch.length > 1
        ? this.#cycle.run(
            batch.map((q) => q.info),
            true,
          )
        : [this.#find(batch[0]!.info)];
    this.metrics.algorithm((performance.now() - began) / batch.length, batch.length);
    // Places first: a pod that is diagnosed below has to see them.
    batch.forEach((queued, i) => {
      const at = found[i];
      if (at) this.#cache.assume(queued.info, at.name, batch.length > 1);
    });
    batch.forEach((queued, i) => {
      const at = found[i];
      if (at) this.#spawn(this.#bind(queued, at.name, began));
      else this.#refuse(queued, began);
    });
  }

  /** Counts pods nominated to nodes, of the same or higher priority, as if they were there. */
  #find(info: PodInfo) {
    const { columns } = this.#cache;
    const counted = this.#nominator.ahead(info).flatMap(({ info, node }) => {
      const at = this.#cache.node(node);
      return at ? [{ info, row: at.row }] : [];
    });
    for (const { info, row } of counted) columns.use(row, info.usage, 1);
    const [at] = this.#cycle.run([info], false);
    for (const { info, row } of counted) columns.use(row, info.usage, -1);
    return at;
  }

  #refuse(queued: Queued, began: number): void {
    const { info } = queued;
    // The kernel's verdicts are of the last pod of a batch; a place may also have come free.
    const at = this.#find(info);
    if (at) {
      this.#cache.assume(info, at.name);
      this.#spawn(this.#bind(queued, at.name, began));
      return;
    }
    const { message, plugins, candidates, nodes } = diagnose(info, this.#cache);
    let text = message;
    let nominated: string | undefined;
    if (nodes > 0) {
      const outcome = preempt(info, candidates, this.#cache);
      if (typeof outcome === "string") text = `${message} ${outcome}`;
      else {
        nominated = outcome.at.name;
        this.#nominator.add(info, nominated);
        this.metrics.preempted(outcome.victims.length);
        for (const victim of outcome.victims) this.#spawn(this.#evict(victim, info, outcome.at.name));
      }
    }
    this.metrics.attempt("unschedulable", performance.now() - began);
    this.#queue.reject(info.key, plugins, this.#clock.now());
    this.#report(info, "Unschedulable", text, nominated);
  }

  // Writes.

  #spawn(write: Promise<void>): void {
    this.#writes.add(write);
    void write.finally(() => this.#writes.delete(write));
  }

  async #bind(queued: Queued, node: string, began: number): Promise<void> {
    const { info } = queued;
    const { namespace, name, uid } = info.pod.metadata;
    this.#bindings++;
    try {
      const binding: coreV1.Binding = {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { namespace, name, uid },
        target: { kind: "Node", name: node },
      };
      await this.#transport.create({ ...pods, namespace, name, subresource: "binding" }, binding);
      this.#cache.finishBinding(info.key, this.#clock.now() + this.#assumedTtl);
      this.#queue.done(info.key);
      this.#nominator.remove(info.key);
      this.metrics.attempt("scheduled", performance.now() - began);
      this.metrics.scheduled(this.#clock.now() - queued.firstSeen, queued.attempts);
      this.#recorder.event(referenceTo(info.pod, podKind), "Normal", "Scheduled", `Successfully assigned ${namespace}/${name} to ${node}`, {
        action: "Binding",
      });
    } catch (error) {
      this.#cache.forget(info.key);
      this.metrics.attempt("error", performance.now() - began);
      // Deleted, or bound by another: the informer says so, if it has not yet.
      if (isNotFound(error) || isConflict(error)) this.#log.info("Pod was not bound", { pod: info.key, err: (error as Error).message }, 2);
      else {
        this.#log.error("Binding failed, trying again", error, { pod: info.key, node });
        this.#report(info, "SchedulerError", `binding rejected: ${error instanceof Error ? error.message : String(error)}`);
      }
      this.#queue.fail(info.key, this.#clock.now());
      this.#event({ resource: "pod", change: "removed", pod: info.pod });
    } finally {
      this.#bindings--;
      this.#wake();
    }
  }

  /** Says in an event and in the pod's condition why it has no node. */
  #report(info: PodInfo, reason: "Unschedulable" | "SchedulerError", message: string, nominated?: string): void {
    this.#recorder.event(referenceTo(info.pod, podKind), "Warning", "FailedScheduling", message, { action: "Scheduling" });
    this.#spawn(this.#condition(info, reason, message, nominated));
  }

  async #condition(info: PodInfo, reason: string, message: string, nominated: string | undefined): Promise<void> {
    const { pod } = info;
    const { namespace, name } = pod.metadata;
    const before = pod.status?.conditions?.find((c) => c.type === "PodScheduled");
    const same = before?.status === "False" && before.reason === reason && before.message === message;
    if (same && (nominated === undefined || nominated === pod.status?.nominatedNodeName)) return;
    const condition: coreV1.PodCondition = {
      type: "PodScheduled",
      status: "False",
      reason,
      message,
      ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
      ...(before?.status === "False" ? {} : { lastTransitionTime: timestamp(this.#clock.now()) }),
    };
    const status = { conditions: [condition], ...(nominated ? { nominatedNodeName: nominated } : {}) };
    await this.#try("update the status of a pod", info.key, () =>
      this.#transport.patch({ ...pods, namespace, name: name!, subresource: "status" }, "strategic", { status }),
    );
  }

  async #evict(victim: PodInfo, preemptor: PodInfo, node: string): Promise<void> {
    const { namespace, name } = victim.pod.metadata;
    if (victim.pod.metadata.deletionTimestamp) return;
    const target = { ...pods, namespace, name: name! };
    const condition: coreV1.PodCondition = {
      type: "DisruptionTarget",
      status: "True",
      reason: "PreemptionByScheduler",
      message: `${this.#schedulerName}: preempting to accommodate a higher priority pod`,
      lastTransitionTime: timestamp(this.#clock.now()),
    };
    await this.#try("mark a pod for preemption", victim.key, () =>
      this.#transport.patch({ ...target, subresource: "status" }, "strategic", { status: { conditions: [condition] } }),
    );
    await this.#try("preempt a pod", victim.key, () => this.#transport.delete(target, { preconditions: { uid: victim.pod.metadata.uid } }));
    this.#recorder.event(
      referenceTo(victim.pod, podKind),
      "Normal",
      "Preempted",
      `Preempted by pod ${preemptor.pod.metadata.uid} on node ${node}`,
      { action: "Preempting", related: referenceTo(preemptor.pod, podKind) },
    );
  }

  /** A write whose failure the next attempt of the pod makes good. */
  async #try(what: string, pod: string, write: () => Promise<unknown>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) this.#log.error(`Failed to ${what}`, error, { pod });
    }
  }
}
