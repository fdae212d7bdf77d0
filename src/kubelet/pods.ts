// All pods of the node and their workers; what the runtime or the disk holds of
// pods that nobody wants is ended and removed.
import type * as coreV1 from "../api/gen/core/v1.ts";
import type { Logger } from "../platform/log.ts";
import { rpcMessage } from "./cri/client.ts";
import { type Room, refusal } from "./pod/admission.ts";
import { type PodContext, recorder } from "./pod/context.ts";
import { killPod, removePod } from "./pod/killer.ts";
import { isStaticPod } from "./pod/labels.ts";
import type { RuntimePod } from "./pod/runtime-pod.ts";
import { PodWorker } from "./pod/worker.ts";

export interface PodManagerOptions {
  context: PodContext;
  rootDir: string;
  /** What pods may use. */
  room: Room;
  log: Logger;
}

const orphanPeriod = 60_000;
/** Seconds that an orphan's containers get to end. */
const orphanGrace = 1;

export class PodManager {
  readonly #o: PodManagerOptions;
  readonly #workers = new Map<string, PodWorker>();
  readonly #listeners = new Map<string, Set<() => void>>();
  #synced = false;
  /** Pods that came before all were known. */
  #waiting: PodWorker[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: PodManagerOptions) {
    this.#o = options;
  }

  get pods(): coreV1.Pod[] {
    return [...this.#workers.values()].map((w) => ({ ...w.pod, status: w.status }));
  }

  /** The pod of a name, with its newest status. */
  find(namespace: string, name: string, uid?: string): coreV1.Pod | undefined {
    for (const w of this.#workers.values()) {
      const m = w.pod.metadata;
      if (m.namespace === namespace && m.name === name && (uid === undefined || uid === m.uid)) return { ...w.pod, status: w.status };
    }
    return undefined;
  }

  /** A pod is wanted, or changed. */
  put(pod: coreV1.Pod): void {
    const uid = pod.metadata.uid!;
    const worker = this.#workers.get(uid);
    if (worker) {
      this.#o.context.statuses.observed(pod);
      return worker.update(pod);
    }
    const made = new PodWorker(this.#o.context, pod, (id) => this.#workers.delete(id));
    this.#workers.set(uid, made);
    // Until all pods of the node are known, nobody can say what is left for one more. A static pod can't wait for that.
    if (!this.#synced && !isStaticPod(pod) && !this.#admitted(pod)) this.#waiting.push(made);
    else this.#admit(made);
  }

  /** A pod that was here before the kubelet has its place. */
  #admitted(pod: coreV1.Pod): boolean {
    return pod.status?.startTime !== undefined || this.#o.context.pleg.all.has(pod.metadata.uid!);
  }

  #admit(worker: PodWorker): void {
    const { pod } = worker;
    if (!this.#admitted(pod) && !pod.metadata.deletionTimestamp) {
      const others = [...this.#workers.values()].filter((w) => w !== worker && w.active && !this.#waiting.includes(w)).map((w) => w.pod);
      const refused = refusal(pod, others, this.#o.room);
      if (refused) {
        recorder(this.#o.context, pod)("Warning", refused.reason, refused.message);
        worker.reject(refused.reason, `Pod was rejected: ${refused.message}`);
      }
    }
    worker.wake();
  }

  delete(pod: coreV1.Pod): void {
    this.#workers.get(pod.metadata.uid!)?.remove();
  }

  /** Calls back when what the runtime holds of a pod changed; returns what ends that. */
  onRuntimeChange(uid: string, fn: () => void): () => void {
    const set = this.#listeners.get(uid) ?? new Set();
    this.#listeners.set(uid, set.add(fn));
    return () => {
      set.delete(fn);
      if (set.size === 0) this.#listeners.delete(uid);
    };
  }

  objectChanged(uid: string): void {
    this.#workers.get(uid)?.objectChanged();
  }

  runtimeChanged(uid: string): void {
    for (const fn of this.#listeners.get(uid) ?? []) fn();
    const worker = this.#workers.get(uid);
    if (worker) {
      // At once, even while the worker is busy with something long.
      worker.publish();
      worker.wake();
    } else if (this.#synced) void this.#orphan(this.#o.context.pleg.get(uid));
  }

  /** All wanted pods are known: what else is there can go. */
  synced(): void {
    if (this.#synced) return;
    this.#synced = true;
    const created = (w: PodWorker) => Date.parse(w.pod.metadata.creationTimestamp ?? "") || 0;
    const waiting = this.#waiting.sort((a, b) => created(a) - created(b));
    while (waiting.length > 0) this.#admit(waiting.shift()!);
    void this.#orphans();
    this.#timer = setInterval(() => void this.#orphans(), orphanPeriod);
    this.#timer.unref?.();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#synced = false;
    await Promise.all([...this.#workers.values()].map((w) => w.stop()));
  }

  async #orphans(): Promise<void> {
    const { pleg, volumes } = this.#o.context;
    await Promise.all([...pleg.all.values()].filter((rt) => !this.#workers.has(rt.uid)).map((rt) => this.#orphan(rt)));
    for (const uid of await volumes.known()) {
      if (this.#workers.has(uid) || pleg.all.has(uid)) continue;
      await volumes
        .tearDown(uid, false)
        .catch((error: unknown) => this.#o.log.error("Could not remove the folder of an orphaned pod", error, { uid }));
    }
  }

  readonly #ending = new Set<string>();

  async #orphan(rt: RuntimePod): Promise<void> {
    if (rt.owner !== this.#o.rootDir || this.#ending.has(rt.uid) || this.#workers.has(rt.uid)) return;
    this.#ending.add(rt.uid);
    const { context, log } = this.#o;
    const pod: coreV1.Pod = { metadata: { name: rt.name, namespace: rt.namespace, uid: rt.uid }, spec: { containers: [] } };
    try {
      log.info("Removing an orphaned pod", { pod: `${rt.namespace}/${rt.name}`, uid: rt.uid });
      await killPod(context, pod, rt, orphanGrace);
      await removePod(context, await context.pleg.refresh(rt.uid));
      await context.pleg.refresh(rt.uid);
      await context.volumes.tearDown(rt.uid, false);
      await context.cgroups.remove(pod);
    } catch (error) {
      log.warn("Could not remove an orphaned pod", { uid: rt.uid, err: rpcMessage(error) });
    } finally {
      this.#ending.delete(rt.uid);
    }
  }
}
