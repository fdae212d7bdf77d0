// The pod lifecycle event generator: keeps what the runtime holds of each pod,
// and tells which pods changed. A runtime with an event stream is followed by
// it; one without is listed each second. After the kubelet's own actions the
// pod concerned is read at once, so no tick stands in the path of a start.

import type { Logger } from "../../platform/log.ts";
import type * as pb from "../../rpc/gen/cri/runtime_pb.ts";
import { podUidLabel } from "../pod/labels.ts";
import { emptyRuntimePod, type RuntimeContainer, type RuntimePod } from "../pod/runtime-pod.ts";
import { type Cri, isRpcNotFound, isUnimplemented, podOf, rpcMessage, toContainer, toSandbox } from "./client.ts";
import { terminationMessage } from "./termination-message.ts";

const listPeriod = 1000;
const listPeriodWithEvents = 60_000;
const retryPeriod = 1000;
const firstLook = 15;
/** Milliseconds that the first list may fail: a runtime that has just started may answer some calls before others. */
const startTime = 20_000;
const startPeriod = 50;
/** One failure may be one pod's; so many in a row are the runtime's. */
const troublesome = 3;

export interface PlegOptions {
  cri: Cri;
  log: Logger;
  /** Called for each pod of which something changed. */
  changed(uid: string): void;
  /** Tells of trouble with the runtime, and of its end with undefined. */
  trouble(text: string | undefined): void;
}

/** What tells two states of a pod apart. */
const fingerprint = (sandboxes: readonly pb.PodSandbox[], containers: readonly pb.Container[]): string =>
  [...sandboxes.map((s) => `${s.id}${s.state}`), ...containers.map((c) => `${c.id}${c.state}`)].sort().join();

export class Pleg {
  readonly #options: PlegOptions;
  readonly #pods = new Map<string, RuntimePod>();
  readonly #seen = new Map<string, string>();
  /** Exited containers don't change: their statuses are asked for once. */
  readonly #exited = new Map<string, RuntimeContainer>();
  readonly #reads = new Map<string, { now: Promise<RuntimePod>; next?: Promise<RuntimePod> }>();
  readonly #expected = new Set<string>();
  readonly #stop = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #events = false;
  #lastList = 0;
  #failures = 0;

  constructor(options: PlegOptions) {
    this.#options = options;
  }

  /** Milliseconds since the epoch of the last complete list. */
  get lastList(): number {
    return this.#lastList;
  }

  get all(): ReadonlyMap<string, RuntimePod> {
    return this.#pods;
  }

  get(uid: string): RuntimePod {
    return this.#pods.get(uid) ?? emptyRuntimePod(uid);
  }

  /** Reads all pods once, then follows the runtime. Rejects when the first list keeps failing. */
  async start(): Promise<void> {
    const deadline = Date.now() + startTime;
    for (let listed = false; !listed; ) {
      try {
        await this.relist();
        listed = true;
      } catch (error) {
        if (this.#stop.signal.aborted || Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, startPeriod));
      }
    }
    void this.#follow();
    this.#schedule();
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  /** Lists again in a while, or soon where something was missed. */
  #schedule(period = this.#events ? listPeriodWithEvents : listPeriod): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.relist().then(
        () => this.#schedule(),
        (error: unknown) => this.#failed(error),
      );
    }, period);
    this.#timer.unref?.();
  }

  #failed(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const message = rpcMessage(error);
    this.#options.log.info("Could not read the runtime's pods, trying again", { err: message }, 2);
    if (++this.#failures >= troublesome) this.#options.trouble(message);
    this.#schedule(retryPeriod);
  }

  /** Lists everything and reads the pods that changed. */
  async relist(): Promise<void> {
    const { runtime } = this.#options.cri;
    const [sandboxes, containers] = await Promise.all([runtime.listPodSandbox({}), runtime.listContainers({})]);
    const pods = new Map<string, { sandboxes: pb.PodSandbox[]; containers: pb.Container[] }>();
    const of = (uid: string) => {
      const pod = pods.get(uid) ?? { sandboxes: [], containers: [] };
      pods.set(uid, pod);
      return pod;
    };
    for (const s of sandboxes.items) {
      const pod = podOf(s.labels);
      if (pod) of(pod.uid).sandboxes.push(s);
    }
    for (const c of containers.containers) {
      const pod = podOf(c.labels);
      if (pod) of(pod.uid).containers.push(c);
    }
    const changed: string[] = [];
    for (const [uid, pod] of pods) if (this.#seen.get(uid) !== fingerprint(pod.sandboxes, pod.containers)) changed.push(uid);
    for (const uid of this.#pods.keys()) if (!pods.has(uid)) changed.push(uid);
    await Promise.all(
      changed.map(async (uid) => {
        await this.refresh(uid);
        this.#options.changed(uid);
      }),
    );
    this.#lastList = Date.now();
    this.#failures = 0;
    this.#options.trouble(undefined);
  }

  /**
   * Reads one pod. The answer is from after this call; reads of one pod follow
   * each other, so that an older one never overwrites a newer.
   */
  refresh(uid: string): Promise<RuntimePod> {
    const running = this.#reads.get(uid);
    if (!running) {
      const first = { now: this.#fetch(uid), next: undefined as Promise<RuntimePod> | undefined };
      this.#reads.set(uid, first);
      const done = () => {
        if (!first.next && this.#reads.get(uid) === first) this.#reads.delete(uid);
      };
      first.now.then(done, done);
      return first.now;
    }
    running.next ??= running.now.then(
      () => this.#again(uid),
      () => this.#again(uid),
    );
    return running.next;
  }

  #again(uid: string): Promise<RuntimePod> {
    this.#reads.delete(uid);
    return this.refresh(uid);
  }

  async #fetch(uid: string): Promise<RuntimePod> {
    const { runtime } = this.#options.cri;
    const filter = { labelSelector: { [podUidLabel]: uid } };
    const [sandboxes, containers] = await Promise.all([runtime.listPodSandbox({ filter }), runtime.listContainers({ filter })]);
    return this.#read(uid, sandboxes.items, containers.containers);
  }

  async #read(uid: string, sandboxes: pb.PodSandbox[], containers: pb.Container[]): Promise<RuntimePod> {
    const newest = [...sandboxes].sort((a, b) => Number(b.createdAt - a.createdAt));
    const [statuses, found] = await Promise.all([
      Promise.all(newest.map((s) => this.#sandbox(s.id))),
      Promise.all(containers.map((c) => this.#container(c))),
    ]);
    const present = statuses.filter((s) => s !== undefined);
    const ids = newest[0] ?? containers[0];
    const pod: RuntimePod = {
      ...(ids ? podOf(ids.labels, newest[0]?.annotations)! : { uid, name: "", namespace: "" }),
      sandboxes: present.map(toSandbox),
      containers: found.filter((c) => c !== undefined).sort((a, b) => b.createdAt - a.createdAt || b.restartCount - a.restartCount),
    };
    this.#keep(pod, fingerprint(sandboxes, containers));
    return pod;
  }

  #keep(pod: RuntimePod, print: string): void {
    if (pod.sandboxes.length === 0 && pod.containers.length === 0) {
      for (const c of this.#pods.get(pod.uid)?.containers ?? []) this.#exited.delete(c.id);
      this.#pods.delete(pod.uid);
      this.#seen.delete(pod.uid);
      return;
    }
    const ids = new Set(pod.containers.map((c) => c.id));
    for (const c of this.#pods.get(pod.uid)?.containers ?? []) if (!ids.has(c.id)) this.#exited.delete(c.id);
    this.#pods.set(pod.uid, pod);
    this.#seen.set(pod.uid, print);
  }

  async #sandbox(id: string): Promise<pb.PodSandboxStatus | undefined> {
    try {
      return (await this.#options.cri.runtime.podSandboxStatus({ podSandboxId: id })).status;
    } catch (error) {
      if (isRpcNotFound(error)) return undefined;
      throw error;
    }
  }

  async #container(c: pb.Container): Promise<RuntimeContainer | undefined> {
    const known = this.#exited.get(c.id);
    if (known) return known;
    try {
      const { status } = await this.#options.cri.runtime.containerStatus({ containerId: c.id });
      if (!status) return undefined;
      const container = toContainer(status, c.podSandboxId);
      if (container.state === "exited") {
        container.message = await terminationMessage(status, container.message);
        this.#exited.set(c.id, container);
      }
      return container;
    } catch (error) {
      if (isRpcNotFound(error)) return undefined;
      throw error;
    }
  }

  /**
   * A pod's container is likely to end soon. Without an event stream the pod is
   * read again shortly, then less and less often, until the lists do as well.
   */
  expect(uid: string): void {
    if (this.#events || this.#expected.has(uid)) return;
    this.#expected.add(uid);
    const before = this.#seen.get(uid);
    let wait = firstLook;
    const look = async () => {
      try {
        await this.refresh(uid);
      } catch (error) {
        this.#options.log.info("Could not read a pod", { uid, err: rpcMessage(error) }, 2);
      }
      if (this.#seen.get(uid) !== before) {
        this.#expected.delete(uid);
        this.#options.changed(uid);
      } else again();
    };
    const again = () => {
      wait *= 1.3;
      if (wait >= listPeriod || this.#stop.signal.aborted) this.#expected.delete(uid);
      else setTimeout(() => void look(), wait).unref?.();
    };
    again();
  }

  /** As `expect`, for the pod of a container or sandbox; unknown ones are passed over. */
  expectEnd(id: string): void {
    for (const pod of this.#pods.values()) {
      if (pod.containers.some((c) => c.id === id) || pod.sandboxes.some((s) => s.id === id)) return this.expect(pod.uid);
    }
  }

  /** Follows the runtime's events for as long as it gives them. */
  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const event of this.#options.cri.runtime.getContainerEvents({}, { signal })) {
          this.#events = true;
          const uid = event.podSandboxStatus?.metadata?.uid;
          if (uid) void this.#event(uid);
        }
      } catch (error) {
        this.#events = false;
        if (signal.aborted || isUnimplemented(error)) return;
        this.#options.log.info("The runtime's event stream ended", { err: rpcMessage(error) }, 2);
      }
      // What happens until it is there again shows in lists only.
      this.#events = false;
      this.#schedule();
      await new Promise((resolve) => setTimeout(resolve, retryPeriod).unref?.());
    }
  }

  async #event(uid: string): Promise<void> {
    try {
      await this.refresh(uid);
      this.#options.changed(uid);
    } catch (error) {
      this.#failed(error);
    }
  }
}
