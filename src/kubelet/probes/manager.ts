// Runs the probes of running containers and keeps their results by container
// (upstream's pkg/kubelet/prober).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isSidecar, type Verdicts } from "../pod/actions.ts";
import { findContainer, type RuntimeContainer, type RuntimePod } from "../pod/runtime-pod.ts";
import type { Outcome, ProbeTarget } from "./actions.ts";
import { ProbeCounter, type ProbeResult } from "./counter.ts";

export type ProbeType = "Startup" | "Readiness" | "Liveness";

export interface ProbeManagerOptions {
  run(probe: coreV1.Probe, target: Omit<ProbeTarget, "cri">): Promise<Outcome>;
  /** A result changed. */
  changed(podUid: string): void;
  unhealthy(pod: coreV1.Pod, container: coreV1.Container, message: string): void;
}

/**
 * While nobody listens yet, a readiness or startup probe is tried again this
 * soon and then less often, up to its period: a refused connection is nothing
 * that the application could notice, and it is what the first moments of every
 * server look like.
 */
const refusedFirst = 10;

const specs: Record<ProbeType, (c: coreV1.Container) => coreV1.Probe | undefined> = {
  Startup: (c) => c.startupProbe,
  Readiness: (c) => c.readinessProbe,
  Liveness: (c) => c.livenessProbe,
};

interface Subject {
  pod: coreV1.Pod;
  container: coreV1.Container;
  runtime: RuntimeContainer;
  podIP: string;
}

/** One probe of one container, from its start to its end. */
class Worker {
  readonly counter: ProbeCounter;
  readonly type: ProbeType;
  readonly #manager: ProbeManagerOptions;
  readonly #probe: coreV1.Probe;
  readonly #mayRun: () => boolean;
  #subject: Subject;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #busy = false;
  #refused = refusedFirst;
  #next = 0;

  constructor(
    type: ProbeType,
    probe: coreV1.Probe,
    subject: Subject,
    initial: ProbeResult,
    manager: ProbeManagerOptions,
    mayRun: () => boolean,
  ) {
    this.type = type;
    this.#probe = probe;
    this.#subject = subject;
    this.#manager = manager;
    this.#mayRun = mayRun;
    this.counter = new ProbeCounter({ success: probe.successThreshold ?? 1, failure: probe.failureThreshold ?? 3 }, initial);
    this.#next = subject.runtime.startedAt + (probe.initialDelaySeconds ?? 0) * 1000;
    this.kick();
  }

  set subject(subject: Subject) {
    this.#subject = subject;
  }

  /** Runs as soon as it may. */
  kick(): void {
    if (this.#busy || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, this.#next - Date.now()));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  get #period(): number {
    return (this.#probe.periodSeconds ?? 10) * 1000;
  }

  async #run(): Promise<void> {
    // The startup probe's success kicks those that wait for it.
    if (!this.#mayRun()) return;
    const begun = Date.now();
    this.#busy = true;
    const { pod, container, runtime, podIP } = this.#subject;
    const outcome = await this.#manager.run(this.#probe, { container, containerId: runtime.id, podIP });
    this.#busy = false;
    if (this.#stopped) return;
    const early =
      outcome.refused === true && this.type !== "Liveness" && this.counter.result === "failure" && begun < this.#scheduled + this.#period;
    if (early && this.#refused < this.#period) {
      this.#next = Date.now() + this.#refused;
      this.#refused = Math.min(this.#refused * 1.3, 250);
      return this.kick();
    }
    this.#scheduled = begun;
    this.#refused = refusedFirst;
    if (!outcome.ok) this.#manager.unhealthy(pod, container, `${this.type} probe failed: ${outcome.output}`);
    const before = this.counter.result;
    const settled = this.counter.record(outcome.ok ? "success" : "failure");
    const failed = settled && !outcome.ok && this.type !== "Readiness";
    // A container that is about to be killed is probed no more.
    if (failed || (this.type === "Startup" && settled && outcome.ok)) this.stop();
    if (failed) this.failed = true;
    if (settled && (before !== this.counter.result || failed)) this.#manager.changed(pod.metadata.uid!);
    this.#next = begun + this.#period;
    this.kick();
  }

  /** When the last probe that counts began. */
  #scheduled = Date.now();
  /** Set once a liveness or startup probe has failed for good. */
  failed = false;
}

interface Entry {
  podUid: string;
  name: string;
  workers: Map<ProbeType, Worker>;
}

export class ProbeManager implements Verdicts {
  readonly #options: ProbeManagerOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: ProbeManagerOptions) {
    this.#options = options;
  }

  started(id: string): boolean {
    const worker = this.#entries.get(id)?.workers.get("Startup");
    return worker === undefined || worker.counter.result === "success";
  }

  ready(id: string): boolean {
    const worker = this.#entries.get(id)?.workers.get("Readiness");
    return worker === undefined || worker.counter.result === "success";
  }

  livenessFailed(id: string): boolean {
    return this.#entries.get(id)?.workers.get("Liveness")?.failed ?? false;
  }

  startupFailed(id: string): boolean {
    return this.#entries.get(id)?.workers.get("Startup")?.failed ?? false;
  }

  /** Makes the probes fit what runs. `ending`: only readiness is still of interest. */
  sync(pod: coreV1.Pod, rt: RuntimePod, ending: boolean): void {
    const uid = pod.metadata.uid!;
    const podIP = rt.sandboxes[0]?.ips[0] ?? pod.status?.hostIP ?? "";
    const running = new Set<string>();
    const probed = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
    for (const container of probed) {
      if (!container.startupProbe && !container.readinessProbe && !container.livenessProbe) continue;
      const runtime = findContainer(rt, container.name);
      if (runtime?.state !== "running") continue;
      running.add(runtime.id);
      this.#ensure({ pod, container, runtime, podIP });
    }
    for (const [id, entry] of this.#entries) {
      if (entry.podUid !== uid) continue;
      if (!running.has(id)) {
        for (const w of entry.workers.values()) w.stop();
        this.#entries.delete(id);
      } else if (ending) for (const w of entry.workers.values()) if (w.type !== "Readiness") w.stop();
    }
  }

  #ensure(subject: Subject): void {
    const { pod, container, runtime } = subject;
    const known = this.#entries.get(runtime.id);
    if (known) {
      for (const w of known.workers.values()) w.subject = subject;
      return;
    }
    const entry: Entry = { podUid: pod.metadata.uid!, name: container.name, workers: new Map() };
    this.#entries.set(runtime.id, entry);
    // A container that was started and ready before the kubelet began still is, until a probe says otherwise.
    const before = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find((s) =>
      s.containerID?.endsWith(`://${runtime.id}`),
    );
    const initial: Record<ProbeType, ProbeResult> = {
      Startup: before?.started ? "success" : "failure",
      Readiness: before?.ready ? "success" : "failure",
      Liveness: "success",
    };
    for (const type of Object.keys(specs) as ProbeType[]) {
      const probe = specs[type](container);
      if (!probe || (type === "Startup" && initial.Startup === "success")) continue;
      const mayRun = () => type === "Startup" || this.started(runtime.id);
      entry.workers.set(type, new Worker(type, probe, subject, initial[type], this.#notify(runtime.id), mayRun));
    }
  }

  /** Passes changes on; a startup probe that passed lets the others begin. */
  #notify(id: string): ProbeManagerOptions {
    return {
      ...this.#options,
      run: (probe, target) => this.#options.run(probe, target),
      changed: (uid) => {
        for (const w of this.#entries.get(id)?.workers.values() ?? []) w.kick();
        this.#options.changed(uid);
      },
    };
  }

  remove(podUid: string): void {
    for (const [id, entry] of this.#entries) {
      if (entry.podUid !== podUid) continue;
      for (const w of entry.workers.values()) w.stop();
      this.#entries.delete(id);
    }
  }

  stop(): void {
    for (const entry of this.#entries.values()) for (const w of entry.workers.values()) w.stop();
    this.#entries.clear();
  }
}
