// What happens to containers, to everyone who listens.
import type { ContainerEventType } from "../rpc/gen/cri/runtime_pb.ts";

export interface ContainerEvent {
  containerId: string;
  /** The pod's; the same as containerId when it is about the sandbox itself. */
  sandboxId: string;
  type: ContainerEventType;
  /** Nanoseconds since 1970. */
  at: bigint;
}

/** A listener that falls this far behind is cut off, and has to list again. */
const MAX_BACKLOG = 10_000;

export class EventStream {
  readonly #listeners = new Set<(event: ContainerEvent) => void>();

  emit(event: ContainerEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Events from now on, until the signal aborts. */
  async *subscribe(signal: AbortSignal): AsyncGenerator<ContainerEvent> {
    const backlog: ContainerEvent[] = [];
    let wake: () => void = () => {};
    let overrun = false;
    const listener = (event: ContainerEvent) => {
      if (backlog.length >= MAX_BACKLOG) overrun = true;
      else backlog.push(event);
      wake();
    };
    const aborted = () => wake();
    this.#listeners.add(listener);
    signal.addEventListener("abort", aborted);
    try {
      while (!signal.aborted && !overrun) {
        const next = backlog.shift();
        if (next !== undefined) yield next;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", aborted);
    }
  }
}
