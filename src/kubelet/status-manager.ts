// Writes the statuses of pods to the apiserver: one patch in flight a pod, and
// always the newest status next.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../api/status.ts";
import { Backoff } from "../client/backoff.ts";
import { pods } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Logger } from "../platform/log.ts";
import { isStaticPod } from "./pod/labels.ts";
import { statusPatch } from "./status-patch.ts";

interface Entry {
  /** Of the pod in the API: the mirror's for a static pod; undefined while it has none. */
  uid: string | undefined;
  namespace: string;
  name: string;
  /** What the apiserver has, as far as is known. */
  sent: coreV1.PodStatus;
  wanted?: coreV1.PodStatus;
  writing?: Promise<void>;
  gone: boolean;
}

export class StatusManager {
  readonly #transport: ApiTransport;
  readonly #log: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();

  constructor(transport: ApiTransport, log: Logger) {
    this.#transport = transport;
    this.#log = log;
  }

  /** Asks for a status to be written; never waits. */
  set(pod: coreV1.Pod, status: coreV1.PodStatus): void {
    const uid = pod.metadata.uid!;
    let entry = this.#entries.get(uid);
    if (!entry) {
      entry = this.#entry(pod, isStaticPod(pod) ? undefined : uid);
      this.#entries.set(uid, entry);
    }
    entry.wanted = status;
    if (entry.uid) entry.writing ??= this.#write(entry);
  }

  /** The mirror of a static pod came, or went. */
  mirrored(pod: coreV1.Pod, mirror: coreV1.Pod | undefined): void {
    const entry = this.#entries.get(pod.metadata.uid!) ?? this.#entry(pod, undefined);
    this.#entries.set(pod.metadata.uid!, entry);
    if (entry.uid === mirror?.metadata.uid) return;
    entry.uid = mirror?.metadata.uid;
    entry.wanted ??= entry.sent;
    entry.sent = mirror?.status ?? {};
    if (entry.uid) entry.writing ??= this.#write(entry);
  }

  #entry(pod: coreV1.Pod, uid: string | undefined): Entry {
    return { uid, namespace: pod.metadata.namespace!, name: pod.metadata.name!, sent: pod.status ?? {}, gone: false };
  }

  /** What the apiserver now shows for a pod; a status that someone else overwrote is written again. */
  observed(pod: coreV1.Pod): void {
    const entry = this.#entries.get(pod.metadata.uid!);
    if (!entry || entry.writing) return;
    const last = entry.wanted ?? entry.sent;
    entry.sent = pod.status ?? {};
    if (statusPatch(entry.sent, last)) this.set(pod, last);
  }

  /** Resolves when the newest status is written, or the pod is gone. */
  async flushed(uid: string): Promise<void> {
    for (let entry = this.#entries.get(uid); entry?.writing; entry = this.#entries.get(uid)) await entry.writing;
  }

  forget(uid: string): void {
    const entry = this.#entries.get(uid);
    if (entry) entry.gone = true;
    this.#entries.delete(uid);
  }

  async stop(): Promise<void> {
    const writing = [...this.#entries.values()].map((e) => e.writing);
    await Promise.race([Promise.all(writing), new Promise((resolve) => setTimeout(resolve, 1000))]);
    this.#stop.abort();
  }

  /** Whether a conflict is one of identity, and not only of two writers. */
  async #replaced(entry: Entry): Promise<boolean> {
    try {
      const pod = await this.#transport.get<coreV1.Pod>({ ...pods, namespace: entry.namespace, name: entry.name });
      return pod.metadata.uid !== entry.uid;
    } catch (error) {
      return isNotFound(error);
    }
  }

  async #write(entry: Entry): Promise<void> {
    // Statuses set within one turn of the event loop go out as one.
    await Promise.resolve();
    const backoff = new Backoff({ initial: 50, max: 10_000, factor: 2, jitter: 0.5 });
    try {
      while (entry.wanted && entry.uid && !entry.gone && !this.#stop.signal.aborted) {
        const wanted = entry.wanted;
        const patch = statusPatch(entry.sent, wanted);
        if (patch) {
          try {
            await this.#transport.patch({ ...pods, namespace: entry.namespace, name: entry.name, subresource: "status" }, "strategic", {
              metadata: { uid: entry.uid },
              status: patch,
            });
          } catch (error) {
            // Gone, or another pod of the same name: there is nothing to write to.
            if (isNotFound(error) || (isConflict(error) && (await this.#replaced(entry)))) return;
            this.#log.warn("Failed to update status for pod", { pod: `${entry.namespace}/${entry.name}`, err: error });
            await new Promise((resolve) => setTimeout(resolve, backoff.next()));
            continue;
          }
          backoff.reset();
        }
        entry.sent = wanted;
        if (entry.wanted === wanted) entry.wanted = undefined;
      }
    } finally {
      entry.writing = undefined;
    }
  }
}
