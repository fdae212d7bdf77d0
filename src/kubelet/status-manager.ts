// Writes the statuses of pods to the apiserver: one patch in flight a pod, and
// always the newest status next.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../api/status.ts";
import { Backoff } from "../client/backoff.ts";
import { pods } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Logger } from "../platform/log.ts";
import { statusPatch } from "./status-patch.ts";

interface Entry {
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
      entry = { namespace: pod.metadata.namespace!, name: pod.metadata.name!, sent: pod.status ?? {}, gone: false };
      this.#entries.set(uid, entry);
    }
    entry.wanted = status;
    entry.writing ??= this.#write(uid, entry);
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

  async #write(uid: string, entry: Entry): Promise<void> {
    // Statuses set within one turn of the event loop go out as one.
    await Promise.resolve();
    const backoff = new Backoff({ initial: 50, max: 10_000, factor: 2, jitter: 0.5 });
    try {
      while (entry.wanted && !entry.gone && !this.#stop.signal.aborted) {
        const wanted = entry.wanted;
        const patch = statusPatch(entry.sent, wanted);
        if (patch) {
          try {
            await this.#transport.patch({ ...pods, namespace: entry.namespace, name: entry.name, subresource: "status" }, "strategic", {
              metadata: { uid },
              status: patch,
            });
          } catch (error) {
            // Gone, or another pod of the same name: there is nothing to write to.
            if (isNotFound(error) || isConflict(error)) return;
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
