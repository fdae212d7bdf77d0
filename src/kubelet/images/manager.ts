// Makes sure that a container's image is on the node (upstream's
// pkg/kubelet/images): pull policy, backoff, credentials, and the events.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { type Cri, rpcMessage } from "../cri/client.ts";
import { Backoff } from "../pod/backoff.ts";
import type { SandboxConfig } from "../pod/config.ts";
import type { ImageUser } from "../pod/security.ts";
import { credentialsFor, type DockerConfig } from "./credentials.ts";

/** A container waits, with the reason that its status shows. */
export class WaitError extends Error {
  override name = "WaitError";
  readonly reason: string;
  /** Milliseconds until another try is due, if the time is known. */
  readonly retryAfter?: number;
  constructor(reason: string, message: string, options: { retryAfter?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.reason = reason;
    this.retryAfter = options.retryAfter;
  }
}

export interface ImageFound {
  /** What CreateContainer takes. */
  ref: string;
  user: ImageUser;
}

export type RecordEvent = (type: "Normal" | "Warning", reason: string, message: string) => void;

export interface ImageRequest {
  pod: coreV1.Pod;
  container: coreV1.Container;
  sandbox: SandboxConfig;
  runtimeHandler: string;
  credentials(): Promise<DockerConfig[]>;
  record: RecordEvent;
  signal: AbortSignal;
}

const initialBackoff = 10_000;
const maxBackoff = 300_000;

/** The image with its default tag, as the runtime knows it. Throws WaitError InvalidImageName. */
export function withDefaultTag(image: string): string {
  if (
    !/^[a-zA-Z0-9][^\s]*$/.test(image) ||
    /[A-Z]/.test(
      image
        .split("@")[0]!
        .replace(/:[\w.-]+$/, "")
        .split("/")
        .slice(1)
        .join("/"),
    )
  )
    throw new WaitError(
      "InvalidImageName",
      `Failed to apply default image tag ${JSON.stringify(image)}: couldn't parse image name ${JSON.stringify(image)}: invalid reference format`,
    );
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || image.includes("@") ? image : `${image}:latest`;
}

/** Go's way to print a duration of milliseconds, rounded to them. */
export function goDuration(ms: number): string {
  const whole = Math.round(ms);
  if (whole < 1000) return `${whole}ms`;
  const seconds = whole / 1000;
  const h = Math.floor(seconds / 3600);
  const m = Math.floor((seconds % 3600) / 60);
  const s = Number((seconds % 60).toFixed(3));
  return `${h > 0 ? `${h}h` : ""}${h > 0 || m > 0 ? `${m}m` : ""}${s}s`;
}

export class ImageManager {
  readonly #cri: Cri;
  readonly #backoff = new Backoff(initialBackoff, maxBackoff);
  readonly #errors = new Map<string, string>();
  /** Pulls under way, so that two pods don't pull the same image twice. */
  readonly #pulls = new Map<string, Promise<string>>();
  /** When each image was last used by a container, for the garbage collector. */
  readonly lastUsed = new Map<string, number>();

  constructor(cri: Cri) {
    this.#cri = cri;
  }

  /** Resolves with the image once it is there. Throws WaitError. */
  async ensure(request: ImageRequest): Promise<ImageFound> {
    const { container, record } = request;
    const image = container.image ?? "";
    const policy = container.imagePullPolicy ?? "IfNotPresent";
    let name: string;
    try {
      name = withDefaultTag(image);
    } catch (error) {
      record("Warning", "InspectFailed", (error as Error).message);
      throw error;
    }
    const present = await this.#status(name, request).catch((error: unknown) => {
      const message = `Failed to inspect image ${JSON.stringify(image)}: ${rpcMessage(error)}`;
      record("Warning", "InspectFailed", message);
      throw new WaitError("ImageInspectError", message, { cause: error });
    });
    if (present && policy !== "Always") {
      record("Normal", "Pulled", `Container image ${JSON.stringify(image)} already present on machine and can be accessed by the pod`);
      return present;
    }
    if (policy === "Never") {
      const message = `Container image ${JSON.stringify(image)} is not present with pull policy of Never`;
      record("Warning", "ErrImageNeverPull", message);
      throw new WaitError("ErrImageNeverPull", message);
    }
    return this.#pull(name, request);
  }

  async #pull(name: string, request: ImageRequest): Promise<ImageFound> {
    const { pod, container, record, signal } = request;
    const quoted = JSON.stringify(container.image);
    const key = `${pod.metadata.uid}_${container.image}`;
    const left = this.#backoff.remainingSinceUpdate(key, Date.now());
    if (left > 0) {
      const message = `Back-off pulling image ${quoted}`;
      record("Normal", "BackOff", message);
      const error = this.#errors.get(key);
      throw new WaitError("ImagePullBackOff", error ? `${message}: ErrImagePull: ${error}` : message, { retryAfter: left });
    }
    record("Normal", "Pulling", `Pulling image ${quoted}`);
    const begun = performance.now();
    try {
      const ref = await this.#pullOnce(name, request);
      const found = (await this.#status(ref, request)) ?? (await this.#status(name, request));
      if (!found) throw new Error(`image ${quoted} is gone after it was pulled`);
      const took = goDuration(performance.now() - begun);
      record(
        "Normal",
        "Pulled",
        `Successfully pulled image ${quoted} in ${took} (${took} including waiting). Image size: ${found.size} bytes.`,
      );
      this.#backoff.reset(key);
      this.#errors.delete(key);
      return found;
    } catch (error) {
      if (signal.aborted) throw error;
      const message = `failed to pull image ${quoted}: ${rpcMessage(error)}`;
      record("Warning", "Failed", `Failed to pull image ${quoted}: ${rpcMessage(error)}`);
      this.#backoff.next(key, Date.now());
      this.#errors.set(key, rpcMessage(error));
      throw new WaitError("ErrImagePull", rpcMessage(error) || message, {
        retryAfter: this.#backoff.remainingSinceUpdate(key, Date.now()),
        cause: error,
      });
    }
  }

  async #pullOnce(name: string, request: ImageRequest): Promise<string> {
    const configs = await request.credentials();
    const auths = credentialsFor(name, configs);
    const key = `${name} ${JSON.stringify(auths)}`;
    let pull = this.#pulls.get(key);
    if (!pull) {
      pull = this.#try(name, auths, request).finally(() => this.#pulls.delete(key));
      this.#pulls.set(key, pull);
    }
    return pull;
  }

  /** With each credential in turn, or without one. */
  async #try(name: string, auths: ReturnType<typeof credentialsFor>, request: ImageRequest): Promise<string> {
    const image = { image: name, userSpecifiedImage: request.container.image ?? "", runtimeHandler: request.runtimeHandler };
    let failure: unknown;
    for (const auth of auths.length > 0 ? auths : [undefined]) {
      try {
        const answer = await this.#cri.image.pullImage({ image, sandboxConfig: request.sandbox, ...(auth ? { auth } : {}) });
        return answer.imageRef;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #status(name: string, request: ImageRequest): Promise<(ImageFound & { size: bigint }) | undefined> {
    const { image } = await this.#cri.image.imageStatus({ image: { image: name, runtimeHandler: request.runtimeHandler } });
    if (!image) return undefined;
    this.lastUsed.set(image.id, Date.now());
    const user: ImageUser = image.uid ? { uid: Number(image.uid.value) } : image.username ? { username: image.username } : { uid: 0 };
    return { ref: image.id, user, size: image.size };
  }
}
