// The shell of garbage collection: watches every kind that can be deleted,
// keeps the graph, and asks the apiserver before it deletes anything.
import type * as metaV1 from "../../api/gen/meta/v1.ts";
import { type KubeObject, parseApiVersion } from "../../api/object.ts";
import { isConflict, isNotFound } from "../../api/status.ts";
import type { Timer } from "../../client/clock.ts";
import type { Collection } from "../../client/resources.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import type { Controller, ControllerContext } from "../framework/context.ts";
import { fieldManager, queueOptions } from "../framework/context.ts";
import { discover } from "../framework/discovery.ts";
import {
  blockingDependents,
  type Effects,
  foregroundFinalizer,
  Graph,
  type GraphNode,
  judge,
  type OwnerState,
  orphanFinalizer,
} from "./graph.ts";

/** Milliseconds between looks for kinds that have come or gone. */
const discoveryPeriod = 30_000;
/** Owners known to be gone; enough that a burst of deletions asks for each once. */
const maxAbsent = 500;

export function garbageCollector(ctx: ControllerContext, workers: number): Controller {
  return new GarbageCollector(ctx, workers);
}

class GarbageCollector implements Controller {
  readonly #ctx: ControllerContext;
  readonly #graph = new Graph();
  readonly #deletions: WorkQueue;
  readonly #orphanings: WorkQueue;
  /** By "group/resource": what is watched, and how to stop hearing of it. */
  readonly #watched = new Map<string, { of: Collection; off: () => void }>();
  readonly #kinds = new Map<string, Collection>();
  readonly #absent = new Set<string>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    const options = queueOptions(ctx, workers);
    this.#deletions = new WorkQueue("garbage_collector_attempt_to_delete", (uid) => this.#attempt(uid), options);
    this.#orphanings = new WorkQueue("garbage_collector_attempt_to_orphan", (uid) => this.#orphan(uid), options);
  }

  start(): void {
    void this.#begin();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const { off } of this.#watched.values()) off();
    await Promise.all([this.#deletions.stop(), this.#orphanings.stop()]);
  }

  async #begin(): Promise<void> {
    if (!(await this.#discover())) return;
    // A graph with kinds missing would take every owner of those kinds for gone.
    await this.#ctx.informers.synced();
    if (this.#stopped) return;
    this.#deletions.start();
    this.#orphanings.start();
  }

  /** Watches what is new, forgets what is gone, and comes back later. Keeps trying until the first one works. */
  async #discover(): Promise<boolean> {
    for (let delay = 500; !this.#stopped; delay = Math.min(delay * 2, discoveryPeriod)) {
      try {
        await this.#sync();
        this.#timer = this.#ctx.clock.after(discoveryPeriod, () => void this.#discover());
        return true;
      } catch (error) {
        this.#ctx.log.warn("Garbage collection can't discover the apiserver's kinds", {
          err: error instanceof Error ? error.message : String(error),
        });
        await new Promise<void>((resolve) => {
          this.#timer = this.#ctx.clock.after(delay, resolve);
        });
      }
    }
    return false;
  }

  async #sync(): Promise<void> {
    const { resources, failures } = await discover(this.#ctx.transport);
    if (this.#stopped) return;
    const present = new Set<string>();
    for (const r of resources) {
      this.#kinds.set(`${r.group}/${r.kind}`, r);
      const key = `${r.group}/${r.resource}`;
      const collectable = ["list", "watch", "delete"].every((v) => r.verbs.includes(v));
      // Events own nothing, are owned by nothing, and there are very many.
      if (!collectable || r.resource === "events") continue;
      present.add(key);
      if (!this.#watched.has(key)) this.#watch(key, r);
    }
    for (const [key, { of, off }] of this.#watched) {
      // A group that did not answer is not gone.
      if (present.has(key) || failures.some((f) => parseApiVersion(f.groupVersion).group === of.group)) continue;
      off();
      this.#watched.delete(key);
      this.#kinds.delete(`${of.group}/${of.kind}`);
      await this.#ctx.informers.drop(of);
    }
  }

  #watch(key: string, of: Collection): void {
    const off = this.#ctx.informers.for<KubeObject>(of).on({
      add: (o) => this.#change((effects) => this.#graph.upsert(of, o, effects)),
      update: (_, o) => this.#change((effects) => this.#graph.upsert(of, o, effects)),
      delete: (o) => {
        this.#noteAbsent(o.metadata.uid ?? "");
        this.#change((effects) => this.#graph.remove(o.metadata.uid ?? "", effects));
      },
    });
    this.#watched.set(key, { of, off });
  }

  #change(apply: (effects: Effects) => void): void {
    const effects: Effects = { attempt: new Set(), orphan: new Set() };
    apply(effects);
    for (const n of effects.attempt) this.#deletions.add(n.uid);
    for (const n of effects.orphan) this.#orphanings.add(n.uid);
  }

  #noteAbsent(uid: string): void {
    this.#absent.add(uid);
    if (this.#absent.size > maxAbsent) this.#absent.delete(this.#absent.values().next().value!);
  }

  async #attempt(uid: string): Promise<Outcome> {
    const node = this.#graph.get(uid);
    if (!node) return;
    if (node.beingDeleted && !node.deletingDependents) return;
    if (node.deletingDependents && !node.virtual) return this.#waitForDependents(node);
    const of = this.#collectionOf(node);
    const live = await this.#get(of, node.namespace, node.name, uid);
    if (!live) {
      this.#noteAbsent(uid);
      this.#change((effects) => this.#graph.remove(uid, effects));
      return;
    }
    // It exists; its own informer will show it, and then it is looked at like any other.
    if (node.virtual) return;
    const states = new Map<string, OwnerState>();
    for (const ref of live.metadata.ownerReferences ?? []) states.set(ref.uid, await this.#ownerState(ref, live.metadata.namespace));
    const verdict = judge(
      live.metadata.ownerReferences ?? [],
      (ref) => states.get(ref.uid) ?? "solid",
      live.metadata.finalizers ?? [],
      node.dependents.size > 0,
      [...node.dependents].some((d) => d.deletingDependents),
    );
    await this.#carryOut(of, live, verdict);
  }

  async #carryOut(of: Collection, live: KubeObject, verdict: ReturnType<typeof judge>): Promise<void> {
    if (verdict.do === "nothing") return;
    const target = targetOf(of, live.metadata.namespace, live.metadata.name ?? "");
    const { uid, resourceVersion } = live.metadata;
    try {
      if (verdict.do === "unlink") {
        const left = (live.metadata.ownerReferences ?? []).filter((o) => !verdict.uids.includes(o.uid));
        await this.#ctx.transport.patch(target, "merge", { metadata: { uid, resourceVersion, ownerReferences: left } }, { fieldManager });
        return;
      }
      let version = resourceVersion;
      if (verdict.unblock) {
        const owners = (live.metadata.ownerReferences ?? []).map((o) => ({ ...o, blockOwnerDeletion: false }));
        const body = { metadata: { uid, resourceVersion, ownerReferences: owners } };
        version = (await this.#ctx.transport.patch(target, "merge", body, { fieldManager })).metadata.resourceVersion;
      }
      this.#ctx.log.info(
        "Deleting item",
        { item: `${of.resource}/${live.metadata.namespace ?? ""}/${live.metadata.name}`, propagation: verdict.policy },
        2,
      );
      await this.#ctx.transport.delete(target, { propagationPolicy: verdict.policy, preconditions: { uid, resourceVersion: version } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Foreground: once nothing blocks, the finalizer goes; until then the dependents are deleted. */
  async #waitForDependents(node: GraphNode): Promise<void> {
    const blocking = blockingDependents(node);
    if (blocking.length === 0) {
      await this.#dropFinalizer(node, foregroundFinalizer);
      return;
    }
    for (const d of blocking) if (!d.deletingDependents) this.#deletions.add(d.uid);
  }

  async #orphan(uid: string): Promise<void> {
    const owner = this.#graph.get(uid);
    if (!owner) return;
    await Promise.all(
      [...owner.dependents].map(async (d) => {
        if (!d.of || !d.owners.some((o) => o.uid === uid)) return;
        const left = d.owners.filter((o) => o.uid !== uid);
        const live = await this.#get(d.of, d.namespace, d.name, d.uid);
        if (!live) return;
        const body = { metadata: { uid: d.uid, resourceVersion: live.metadata.resourceVersion, ownerReferences: left } };
        await this.#tolerateAbsence(() => this.#ctx.transport.patch(targetOf(d.of!, d.namespace, d.name), "merge", body, { fieldManager }));
      }),
    );
    await this.#dropFinalizer(owner, orphanFinalizer);
  }

  async #dropFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    const of = this.#collectionOf(node);
    for (let tries = 0; ; tries++) {
      const live = await this.#get(of, node.namespace, node.name, node.uid);
      const finalizers = live?.metadata.finalizers ?? [];
      if (!live || !finalizers.includes(finalizer)) return;
      const left = finalizers.filter((f) => f !== finalizer);
      const body = { metadata: { uid: node.uid, resourceVersion: live.metadata.resourceVersion, finalizers: left } };
      try {
        await this.#tolerateAbsence(() =>
          this.#ctx.transport.patch(targetOf(of, node.namespace, node.name), "merge", body, { fieldManager }),
        );
        return;
      } catch (error) {
        if (!isConflict(error) || tries >= 5) throw error;
      }
    }
  }

  async #ownerState(ref: metaV1.OwnerReference, namespace: string | undefined): Promise<OwnerState> {
    if (this.#absent.has(ref.uid)) return "dangling";
    const known = this.#graph.get(ref.uid);
    const of = known?.of ?? this.#kindOf(ref.apiVersion, ref.kind);
    const live = await this.#get(of, of.namespaced ? namespace : undefined, ref.name, ref.uid);
    if (!live) {
      this.#noteAbsent(ref.uid);
      return "dangling";
    }
    return live.metadata.deletionTimestamp && live.metadata.finalizers?.includes(foregroundFinalizer) ? "waiting" : "solid";
  }

  /** The very object, or undefined when it is gone or another has its name. */
  async #get(of: Collection, namespace: string | undefined, name: string, uid: string): Promise<KubeObject | undefined> {
    try {
      const found = await this.#ctx.transport.get(targetOf(of, of.namespaced ? namespace : undefined, name));
      return found.metadata.uid === uid ? found : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #tolerateAbsence(write: () => Promise<unknown>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #collectionOf(node: GraphNode): Collection {
    return node.of ?? this.#kindOf(node.apiVersion, node.kind);
  }

  /** Throws when the kind is not known: its objects must not be taken for gone. */
  #kindOf(apiVersion: string, kind: string): Collection {
    const found = this.#kinds.get(`${parseApiVersion(apiVersion).group}/${kind}`);
    if (!found) throw new Error(`unable to get REST mapping for ${apiVersion}/${kind}`);
    return found;
  }
}

function targetOf(of: Collection, namespace: string | undefined, name: string) {
  return { group: of.group, version: of.version, resource: of.resource, ...(namespace ? { namespace } : {}), name };
}
