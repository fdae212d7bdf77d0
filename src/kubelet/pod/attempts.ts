// What is known of the tries to start a pod's containers: the image of each,
// why the last try failed, and when another makes sense.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { rpcMessage } from "../cri/client.ts";
import { type ImageFound, WaitError } from "../images/manager.ts";
import type { WaitReason } from "./container-status.ts";

/** After a failure that nothing else would end the wait of, in milliseconds. */
const firstRetry = 500;
const maxRetry = 10_000;
/** After ErrImagePull the status soon says ImagePullBackOff. */
const showBackoffAfter = 1000;
/** During a backoff its event comes again this often, up to half as much later (upstream's backOffPeriod). */
const repeatBackoff = 10_000;
const isBackoff = (reason: string) => reason === "CrashLoopBackOff" || reason === "ImagePullBackOff";

export class Attempts {
  /** Why containers wait, by name. */
  readonly reasons = new Map<string, WaitReason>();
  readonly #due = new Map<string, number>();
  readonly #images = new Map<string, { image: string; found: Promise<ImageFound> }>();
  #retry = firstRetry;

  /** Asks for a container's image once, however often its pod has to wait for something else. */
  image(container: coreV1.Container, ensure: () => Promise<ImageFound>): Promise<ImageFound> {
    const image = container.image ?? "";
    const known = this.#images.get(container.name);
    if (known?.image === image) return known.found;
    const found = ensure();
    this.#images.set(container.name, { image, found });
    found.catch(() => this.#images.delete(container.name));
    return found;
  }

  started(container: coreV1.Container): void {
    this.#images.delete(container.name);
    this.#due.delete(container.name);
    this.reasons.delete(container.name);
    this.#retry = firstRetry;
  }

  /** Notes a failure; the milliseconds until another try. */
  failed(container: coreV1.Container, error: unknown): { reason: string; after: number } {
    this.#images.delete(container.name);
    const wait = error instanceof WaitError ? error : undefined;
    const reason = wait?.reason ?? "CreateContainerError";
    this.reasons.set(container.name, { reason, message: wait?.message ?? rpcMessage(error) });
    let after = wait?.retryAfter ?? this.#retry;
    if (reason === "ErrImagePull") after = Math.min(showBackoffAfter, after);
    else if (isBackoff(reason)) after = Math.min(after, repeatBackoff * (1 + Math.random() / 2));
    else if (wait?.retryAfter === undefined) this.#retry = Math.min(maxRetry, this.#retry * 2);
    this.#due.set(container.name, Date.now() + after);
    return { reason, after };
  }

  /** Milliseconds until a container may be tried again; 0 or less for now. */
  left(container: coreV1.Container, now: number): number {
    return (this.#due.get(container.name) ?? 0) - now;
  }

  /** The pod changed: what failed may work now. */
  forgive(): void {
    this.#due.clear();
    this.#retry = firstRetry;
  }

  /** An object that the pod refers to changed. */
  forgiveConfig(): void {
    for (const [name, { reason }] of this.reasons) if (reason === "CreateContainerConfigError") this.#due.delete(name);
    this.#retry = firstRetry;
  }
}
