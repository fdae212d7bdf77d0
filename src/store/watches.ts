// Runs the watch hub: publishes what was applied, and brings watchers that are
// behind up to date in slices.
import type { Mvcc } from "./mvcc/mvcc.ts";
import { type Watcher, WatchHub, type WatchSink, type WatchSpec } from "./mvcc/watch.ts";

export interface MemberSink extends WatchSink {
  /** The store stops. */
  closed(error: Error): void;
}

export class Watches {
  readonly #mvcc: Mvcc;
  readonly #slice: number;
  readonly #sinks = new Map<Watcher, MemberSink>();
  #hub: WatchHub;
  #stepping = false;
  /** Events given to watchers. */
  sent = 0;

  constructor(mvcc: Mvcc, slice: number) {
    this.#mvcc = mvcc;
    this.#slice = slice;
    this.#hub = new WatchHub(mvcc);
  }

  get size(): number {
    return this.#hub.size;
  }

  get unsynced(): number {
    return this.#hub.unsynced;
  }

  /** Begins at what the store holds now. */
  open(): void {
    this.#hub = new WatchHub(this.#mvcc);
  }

  add(spec: WatchSpec, sink: MemberSink): Watcher {
    const watcher = this.#hub.add(spec, {
      events: (events, revision) => {
        this.sent += events.length;
        sink.events(events, revision);
      },
      compacted: (revision) => {
        this.#sinks.delete(watcher);
        sink.compacted(revision);
      },
      caughtUp: () => sink.caughtUp?.(),
    });
    this.#sinks.set(watcher, sink);
    this.#catchUp();
    return watcher;
  }

  remove(watcher: Watcher): void {
    this.#sinks.delete(watcher);
    this.#hub.remove(watcher);
  }

  pause(watcher: Watcher): void {
    this.#hub.pause(watcher);
  }

  resume(watcher: Watcher): void {
    this.#hub.resume(watcher);
    this.#catchUp();
  }

  get published(): boolean {
    return this.#hub.published;
  }

  isCurrent(watcher: Watcher): boolean {
    return this.#hub.isCurrent(watcher);
  }

  publish(): void {
    this.#hub.publish();
  }

  /** The store was replaced by a newer one: everybody reads on from its log. */
  reload(): void {
    const moved = [...this.#sinks.keys()].filter((w) => !w.paused);
    for (const watcher of moved) this.#hub.pause(watcher);
    this.#hub.publish();
    for (const watcher of moved) this.#hub.resume(watcher);
    this.#catchUp();
  }

  /** Ends every watch. */
  close(error: Error): void {
    const sinks = [...this.#sinks];
    this.#sinks.clear();
    for (const [watcher, sink] of sinks) {
      this.#hub.remove(watcher);
      sink.closed(error);
    }
  }

  #catchUp(): void {
    if (this.#stepping || !this.#hub.behind) return;
    this.#stepping = true;
    const turn = () => {
      if (this.#hub.step(this.#slice)) this.#stepping = false;
      else setImmediate(turn);
    };
    // Never before the caller has what add() returns.
    queueMicrotask(turn);
  }
}
