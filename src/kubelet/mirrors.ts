// Keeps static pods and their mirror pods in step.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { Backoff, type BackoffOptions } from "../client/backoff.ts";
import type { MirrorPods } from "./config/static-pods.ts";
import { configHashAnnotation, configMirrorAnnotation } from "./pod/labels.ts";
import type { StatusManager } from "./status-manager.ts";

const retries: BackoffOptions = { initial: 500, max: 30_000, factor: 2, jitter: 0.5 };

const nameOf = (pod: coreV1.Pod) => `${pod.metadata.namespace}/${pod.metadata.name}`;

export class MirrorKeeper {
  readonly #api: MirrorPods;
  readonly #statuses: StatusManager;
  readonly #nodeName: string;
  readonly #static = new Map<string, coreV1.Pod>();
  readonly #mirrors = new Map<string, coreV1.Pod>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #synced = false;

  constructor(api: MirrorPods, statuses: StatusManager, nodeName: string) {
    this.#api = api;
    this.#statuses = statuses;
    this.#nodeName = nodeName;
  }

  putStatic(pod: coreV1.Pod): void {
    this.#static.set(nameOf(pod), pod);
    this.#compare(nameOf(pod));
  }

  deleteStatic(pod: coreV1.Pod): void {
    this.#static.delete(nameOf(pod));
    this.#compare(nameOf(pod));
  }

  putMirror(pod: coreV1.Pod): void {
    this.#mirrors.set(nameOf(pod), pod);
    this.#compare(nameOf(pod));
  }

  deleteMirror(pod: coreV1.Pod): void {
    this.#mirrors.delete(nameOf(pod));
    this.#compare(nameOf(pod));
  }

  /** The mirror pods that the apiserver has are known. */
  synced(): void {
    this.#synced = true;
    for (const name of new Set([...this.#static.keys(), ...this.#mirrors.keys()])) this.#compare(name);
  }

  #compare(name: string): void {
    if (!this.#synced) return;
    const pod = this.#static.get(name);
    const mirror = this.#mirrors.get(name);
    const fits =
      pod && mirror && mirror.metadata.annotations?.[configMirrorAnnotation] === pod.metadata.annotations?.[configHashAnnotation];
    if (pod) this.#statuses.mirrored(pod, fits && !mirror.metadata.deletionTimestamp ? mirror : undefined);
    if (mirror && (!fits || mirror.metadata.deletionTimestamp)) void this.#until(name, this.#api.delete(mirror));
    else if (pod && !mirror) void this.#until(name, this.#api.create(pod, this.#nodeName));
  }

  /** Compares again in a while where the apiserver did not do it: nothing else would. */
  async #until(name: string, done: Promise<boolean>): Promise<void> {
    if (await done) {
      this.#backoffs.delete(name);
      return;
    }
    if (!this.#synced) return;
    const backoff = this.#backoffs.get(name) ?? new Backoff(retries);
    this.#backoffs.set(name, backoff);
    clearTimeout(this.#timers.get(name));
    this.#timers.set(
      name,
      setTimeout(() => this.#compare(name), backoff.next()),
    );
  }

  stop(): void {
    this.#synced = false;
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }
}
