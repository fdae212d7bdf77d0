// One worker a pod: brings the runtime to what the pod asks for, one step after
// the other, and tells the apiserver what it sees. Everything that can change
// something wakes it; nothing in it waits for a tick.
import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../../api/status.ts";
import { pods } from "../../client/resources.ts";
import { rpcMessage } from "../cri/client.ts";
import { WaitError } from "../images/manager.ts";
import { computePodActions, isSidecar, type Kill, type PodActions } from "./actions.ts";
import { Attempts } from "./attempts.ts";
import { collect } from "./collect.ts";
import { type PodContext, podTitle, recorder } from "./context.ts";
import { gracePeriod, killContainer, killPod, removePod, stopContainer } from "./killer.ts";
import { isStaticPod } from "./labels.ts";
import { isLive, type RuntimePod } from "./runtime-pod.ts";
import { checkCrashLoop, createSandbox, ensureImage, makeSandboxConfig, type Sandbox, startContainer, writeHosts } from "./starter.ts";
import { ownedConditions, podStatus } from "./status.ts";
import { unlessAborted } from "./unless-aborted.ts";
import { PodVolumes } from "./volumes.ts";

/** After a failure that nothing else would wake the worker from, in milliseconds. */
const firstRetry = 500;
const maxRetry = 10_000;

type Stage = "running" | "terminating" | "terminated" | "finished";

/** Whether some container is there to end, so that the next step waits for it. */
const expectsEnd = (pod: coreV1.Pod, started: coreV1.Container[]) =>
  started.some(
    (c) =>
      (c.restartPolicy ?? pod.spec.restartPolicy) !== "Always" || pod.spec.initContainers?.some((i) => i.name === c.name && !isSidecar(i)),
  );

const isTerminal = (phase: string | undefined) => phase === "Succeeded" || phase === "Failed";

export class PodWorker {
  readonly uid: string;
  readonly #ctx: PodContext;
  readonly #attempts = new Attempts();
  readonly #volumes: PodVolumes;
  readonly #done: (uid: string) => void;
  #pod: coreV1.Pod;
  #status: coreV1.PodStatus | undefined;
  #ended: { reason: string; message: string; rejected?: boolean } | undefined;
  #stage: Stage = "running";
  #removed = false;
  /** Seconds that the containers which are being ended were given. */
  #killing: number | undefined;
  #kills = 0;
  #abort = new AbortController();
  #dirty = false;
  #running: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Number.POSITIVE_INFINITY;
  #retry = firstRetry;
  #stopped = false;

  /** `done` is called when nothing of the pod is left. */
  constructor(ctx: PodContext, pod: coreV1.Pod, done: (uid: string) => void) {
    this.#ctx = ctx;
    this.#pod = pod;
    this.uid = pod.metadata.uid!;
    this.#done = done;
    this.#volumes = new PodVolumes(ctx);
  }

  get pod(): coreV1.Pod {
    return this.#pod;
  }

  /** The newest status, whether the apiserver has it yet or not. */
  get status(): coreV1.PodStatus | undefined {
    return this.#status ?? this.#pod.status;
  }

  /** The pod changed in its source. */
  update(pod: coreV1.Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    if (pod.metadata.labels !== before.metadata.labels || pod.metadata.annotations !== before.metadata.annotations)
      this.#volumes.invalidate();
    if (!deepEqual(pod.spec, before.spec)) this.#attempts.forgive();
    if (pod.metadata.deletionTimestamp) this.#abort.abort();
    if (pod.metadata.deletionTimestamp && this.#killing !== undefined && gracePeriod(pod) < this.#killing) this.#hasten(gracePeriod(pod));
    this.wake();
  }

  /** The pod is gone from its source. */
  remove(): void {
    this.#removed = true;
    this.#abort.abort();
    this.wake();
  }

  /** Ends the pod for a reason of the node's: its status becomes Failed. */
  end(reason: string, message: string): void {
    this.#ended ??= { reason, message };
    this.#abort.abort();
    this.wake();
  }

  /** The node has no room for the pod: none of it is started. */
  reject(reason: string, message: string): void {
    this.#ended ??= { reason, message, rejected: true };
    this.#abort.abort();
  }

  /** Whether the pod takes up room on the node. */
  get active(): boolean {
    return (
      !this.#removed &&
      (this.#stage === "running" || this.#stage === "terminating") &&
      !this.#ended?.rejected &&
      !isTerminal(this.status?.phase)
    );
  }

  /** An object that the pod refers to changed. */
  objectChanged(): void {
    this.#volumes.invalidate();
    this.#attempts.forgiveConfig();
    this.#retry = firstRetry;
    this.wake();
  }

  /** Looks again, now or after what is being done. */
  wake(): void {
    if (this.#stopped) return;
    this.#dirty = true;
    this.#running ??= this.#run();
  }

  /** Leaves the pod as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#dirty = false;
    clearTimeout(this.#timer);
    this.#abort.abort();
    await Promise.race([this.#running, new Promise((resolve) => setTimeout(resolve, 200))]);
  }

  /** Writes the status that follows from what is known now. */
  publish(terminal = false): coreV1.PodStatus {
    const { probes, pleg, statuses } = this.#ctx;
    const rt = pleg.get(this.uid);
    const pod = this.#withStatus();
    if (this.#stage === "running" || this.#stage === "terminating") probes.sync(pod, rt, this.#stage === "terminating");
    const over = terminal || this.#stage === "terminated" || this.#stage === "finished";
    const status = podStatus(pod, rt, {
      runtimeName: this.#ctx.runtimeName,
      reasons: this.#attempts.reasons,
      started: (id) => probes.started(id),
      ready: (id) => probes.ready(id),
      verdicts: probes,
      now: Date.now(),
      hostIPs: this.#ctx.hostIPs,
      terminal: over,
      ...(this.#ended ? { ended: this.#ended } : {}),
    });
    // While it ends, a phase must not look as if it had ended.
    if (this.#stage === "terminating" && isTerminal(status.phase) && !isTerminal(pod.status?.phase))
      status.phase = pod.status?.phase ?? "Running";
    this.#status = status;
    if (!this.#removed) statuses.set(this.#pod, status);
    return status;
  }

  /** The pod with the status last made here, and others' conditions as the apiserver has them. */
  #withStatus(): coreV1.Pod {
    if (!this.#status) return this.#pod;
    const own = (this.#status.conditions ?? []).filter((c) => ownedConditions.has(c.type));
    const foreign = (this.#pod.status?.conditions ?? []).filter((c) => !ownedConditions.has(c.type));
    return { ...this.#pod, status: { ...this.#status, conditions: [...own, ...foreign] } };
  }

  async #run(): Promise<void> {
    // One turn later, so that what arrives together is looked at together.
    await Promise.resolve();
    try {
      while (this.#dirty && !this.#stopped) {
        this.#dirty = false;
        this.#due = Number.POSITIVE_INFINITY;
        try {
          await this.#sync();
          this.#retry = firstRetry;
        } catch (error) {
          if (this.#stopped) return;
          if (!this.#abort.signal.aborted || this.#stage !== "running")
            this.#ctx.log.error("Error syncing pod, skipping", rpcMessage(error), { pod: podTitle(this.#pod) });
          this.#wakeIn(this.#retry);
          this.#retry = Math.min(maxRetry, this.#retry * 2);
        }
      }
    } finally {
      this.#running = undefined;
    }
  }

  #wakeIn(ms: number): void {
    const due = Date.now() + ms;
    if (due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.wake(), Math.min(ms, 2 ** 31 - 1));
  }

  get #mustEnd(): boolean {
    return this.#removed || this.#ended !== undefined || Boolean(this.#pod.metadata.deletionTimestamp) || isTerminal(this.#status?.phase);
  }

  async #sync(): Promise<void> {
    if (this.#stage === "finished") return;
    if (this.#stage === "terminated") return this.#finish();
    this.#checkDeadline();
    this.publish();
    if (this.#mustEnd) return this.#terminate();
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    const actions = computePodActions(this.#withStatus(), this.#ctx.pleg.get(this.uid), this.#ctx.probes);
    await this.#execute(actions);
  }

  #checkDeadline(): void {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    const start = this.status?.startTime;
    if (seconds === undefined || start === undefined || isTerminal(this.status?.phase)) return;
    const left = Date.parse(start) + seconds * 1000 - Date.now();
    if (left > 0) return this.#wakeIn(left);
    const message = "Pod was active on the node longer than the specified deadline";
    if (!this.#ended) recorder(this.#ctx, this.#pod)("Normal", "DeadlineExceeded", message);
    this.#ended ??= { reason: "DeadlineExceeded", message };
  }

  async #execute(actions: PodActions): Promise<void> {
    const ctx = this.#ctx;
    const pod = this.#withStatus();
    const { signal } = this.#abort;
    let rt = ctx.pleg.get(this.uid);
    let acted = false;

    if (actions.killPod) {
      if (rt.sandboxes.length > 0 || rt.containers.some(isLive)) {
        if (actions.createSandbox && actions.sandboxId)
          recorder(ctx, pod)("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        if (rt.sandboxes.some((s) => s.ready) || rt.containers.some(isLive)) {
          await this.#kill(gracePeriod(pod), (grace) => killPod(ctx, pod, rt, grace));
          rt = await ctx.pleg.refresh(this.uid);
          acted = true;
        }
      }
      if (!actions.createSandbox) {
        this.publish();
        if (acted || this.#mustEnd) this.#dirty = true;
        return;
      }
    } else if (actions.kill.length > 0) {
      await Promise.all(actions.kill.map((k) => this.#killOne(pod, k)));
      rt = await ctx.pleg.refresh(this.uid);
      acted = true;
    }

    const wanted: coreV1.Container[] = [
      ...(actions.ephemeralContainers as coreV1.Container[]),
      ...actions.initContainers,
      ...actions.containers,
    ];
    if (wanted.length === 0 && !actions.createSandbox) {
      await this.#volumes.refresh(pod);
      this.#wakeForTokens();
      collect(ctx, rt);
      if (acted) this.#dirty = true;
      return;
    }
    acted = (await this.#start(pod, wanted, actions, rt, signal)) || acted;
    if (this.#stopped) return;
    await ctx.pleg.refresh(this.uid);
    if (expectsEnd(pod, wanted)) ctx.pleg.expect(this.uid);
    // What ran to its end in the meantime shows in the next look.
    if (acted) this.#dirty = true;
    this.publish();
    collect(ctx, ctx.pleg.get(this.uid));
  }

  /** Notes what grace is given meanwhile, so that a deletion can shorten it. */
  async #kill(grace: number, kill: (grace: number) => Promise<void>): Promise<void> {
    this.#kills++;
    this.#killing = Math.max(grace, this.#killing ?? 0);
    try {
      await kill(grace);
    } finally {
      if (--this.#kills === 0) this.#killing = undefined;
    }
  }

  #killOne(pod: coreV1.Pod, k: Kill): Promise<void> {
    const probe = k.reason === "LivenessProbe" ? k.spec?.livenessProbe : k.reason === "StartupProbe" ? k.spec?.startupProbe : undefined;
    const seconds = probe?.terminationGracePeriodSeconds ?? gracePeriod(pod);
    return this.#kill(seconds, (grace) => killContainer(this.#ctx, pod, k.container, { grace, message: k.message }));
  }

  /** Starts containers, and before them the sandbox, volumes and images side by side; true when something was done. */
  async #start(pod: coreV1.Pod, wanted: coreV1.Container[], actions: PodActions, rt: RuntimePod, signal: AbortSignal): Promise<boolean> {
    const ctx = this.#ctx;
    const now = Date.now();
    const config = makeSandboxConfig(ctx, pod, actions.attempt);
    // Those in a crash loop wait; their images are not asked for.
    const due = wanted.filter((c) => !this.#held(c, now) && this.#try(c, () => checkCrashLoop(ctx, pod, c, rt, now)));
    if (due.length === 0 && !actions.createSandbox) {
      this.publish();
      return false;
    }
    const images = new Map(due.map((c) => [c.name, this.#attempts.image(c, () => ensureImage(ctx, pod, c, config, signal))]));
    const volumes = this.#volumes.setUp(pod, signal);
    volumes.catch(() => {});
    const sandbox = await this.#sandbox(pod, actions, config, rt);
    if (signal.aborted) return true;
    if (actions.createSandbox) this.publish();
    await unlessAborted(volumes, signal);
    this.#wakeForTokens();
    let started = actions.createSandbox;
    for (const container of due) {
      if (signal.aborted) return true;
      try {
        const image = await unlessAborted(images.get(container.name)!, signal);
        await startContainer(ctx, { pod, container, sandbox, image, rt, signal });
        this.#attempts.started(container);
        started = true;
      } catch (error) {
        if (signal.aborted) return true;
        this.#failed(container, error);
        if (error instanceof WaitError && (error.reason === "RunContainerError" || error.reason === "PostStartHookError")) started = true;
        // The next init container must wait for this one.
        if (actions.initContainers.includes(container)) break;
      }
    }
    return started;
  }

  /** The pod's sandbox, made if need be, with its addresses and hosts file. */
  async #sandbox(pod: coreV1.Pod, actions: PodActions, config: Sandbox["config"], rt: RuntimePod): Promise<Sandbox> {
    const ctx = this.#ctx;
    const id = actions.createSandbox ? await createSandbox(ctx, pod, config) : actions.sandboxId!;
    if (actions.createSandbox) rt = await ctx.pleg.refresh(this.uid);
    const found = rt.sandboxes.find((s) => s.id === id);
    if (!found) throw new Error(`sandbox ${id} is gone after it was created`);
    if (actions.createSandbox && !pod.spec.hostNetwork && found.ips.length === 0) throw new Error(`sandbox ${id} has no address`);
    await writeHosts(ctx, pod, found.ips);
    return { id, config, ips: found.ips };
  }

  #try(container: coreV1.Container, check: () => void): boolean {
    try {
      check();
      return true;
    } catch (error) {
      this.#failed(container, error);
      return false;
    }
  }

  #failed(container: coreV1.Container, error: unknown): void {
    const { reason, after } = this.#attempts.failed(container, error);
    if (reason === "ErrImagePull" || reason === "ImagePullBackOff")
      recorder(this.#ctx, this.#pod, container)("Warning", "Failed", `Error: ${reason}`);
    this.#wakeIn(after);
  }

  /** Whether it is too soon to try a container again. */
  #held(container: coreV1.Container, now: number): boolean {
    const left = this.#attempts.left(container, now);
    if (left > 0) this.#wakeIn(left);
    return left > 0;
  }

  #wakeForTokens(): void {
    const at = this.#ctx.volumes.renewal(this.uid);
    if (at === undefined) return;
    const left = at - Date.now();
    if (left <= 0) this.#volumes.invalidate();
    this.#wakeIn(Math.max(1000, left));
  }

  /** A shorter grace period came while the containers end. */
  #hasten(grace: number): void {
    this.#killing = grace;
    for (const c of this.#ctx.pleg.get(this.uid).containers.filter(isLive)) {
      stopContainer(this.#ctx, c.id, grace).catch((error: unknown) =>
        this.#ctx.log.warn("Could not stop a container sooner", { pod: podTitle(this.#pod), err: rpcMessage(error) }),
      );
    }
  }

  async #terminate(): Promise<void> {
    const ctx = this.#ctx;
    this.#stage = "terminating";
    let rt = await ctx.pleg.refresh(this.uid);
    await this.#kill(gracePeriod(this.#pod), (grace) => killPod(ctx, this.#pod, rt, grace));
    rt = await ctx.pleg.refresh(this.uid);
    if (rt.containers.some(isLive)) throw new Error("containers are still running after they were stopped");
    this.#attempts.reasons.clear();
    this.#stage = "terminated";
    this.publish();
    ctx.probes.remove(this.uid);
    await this.#finish();
  }

  #cleaned = false;

  /** Cleans up, and takes the pod out of the API once it is deleted there. */
  async #finish(): Promise<void> {
    const ctx = this.#ctx;
    const pod = this.#pod;
    const deleted = this.#removed || Boolean(pod.metadata.deletionTimestamp);
    if (!this.#cleaned) {
      await Promise.all([ctx.volumes.tearDown(this.uid, !deleted), ctx.cgroups.remove(pod)]);
      ctx.objects.release(this.uid);
      this.#cleaned = true;
    }
    if (!deleted) return;
    if (!this.#removed && !isStaticPod(pod)) {
      this.publish();
      await ctx.statuses.flushed(this.uid);
      try {
        await ctx.transport.delete(
          { ...pods, namespace: pod.metadata.namespace!, name: pod.metadata.name! },
          { gracePeriodSeconds: 0, preconditions: { uid: this.uid } },
        );
      } catch (error) {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
    }
    const { rm } = await import("node:fs/promises");
    await removePod(ctx, ctx.pleg.get(this.uid));
    await ctx.volumes.tearDown(this.uid, false);
    await rm(makeSandboxConfig(ctx, pod, 0).logDirectory!, { recursive: true, force: true });
    await ctx.pleg.refresh(this.uid);
    ctx.backoff.forget(podTitle(pod));
    ctx.statuses.forget(this.uid);
    clearTimeout(this.#timer);
    this.#stage = "finished";
    this.#done(this.uid);
  }
}
