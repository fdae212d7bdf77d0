// What a leader sends to each follower so that their logs come to agree.
import { bytesOf } from "./log.ts";
import type { Node } from "./node.ts";
import type { Progress } from "./progress.ts";
import type { Entry } from "./types.ts";

const NONE: readonly Entry[] = [];

export class Replication {
  readonly #node: Node;

  constructor(node: Node) {
    this.#node = node;
  }

  /** Sends what a follower has not been sent, as far as it may be. */
  send(p: Progress): void {
    const { log, options, commit } = this.#node;
    while (!p.paused && this.#isInLog(p)) {
      const entries = log.last >= p.next ? log.slice(p.next, log.last, options.maxMessageBytes) : NONE;
      if (entries.length === 0 && p.state === "replicate" && p.toldCommit >= commit && !p.nudge) return;
      this.#append(p, entries);
      if (entries.length === 0) return;
    }
    if (p.state !== "snapshot" && !this.#isInLog(p) && (!p.paused || p.nudge)) this.#snapshot(p);
    // No room for entries, and yet none of those under way may arrive.
    else if (p.state === "replicate" && p.nudge) this.#append(p, NONE);
  }

  /** Tells a member that is one no more what it may not know: that the change is committed. */
  dismiss(p: Progress): void {
    if (p.state === "replicate" && this.#isInLog(p)) this.#append(p, NONE);
  }

  /** Whether the log has what stands before the next entry. Who has nothing has no configuration either, which no log begins with. */
  #isInLog(p: Progress): boolean {
    return p.next > Math.max(this.#node.log.base.index, 1);
  }

  #append(p: Progress, entries: readonly Entry[]): void {
    const { id, term, commit, log } = this.#node;
    const prevIndex = p.next - 1;
    const prevTerm = log.termAt(prevIndex)!;
    this.#node.send({ type: "append", from: id, to: p.id, term, prevIndex, prevTerm, commit, entries });
    p.nudge = false;
    p.toldCommit = commit;
    let bytes = 0;
    for (const e of entries) bytes += bytesOf(e);
    p.sent(prevIndex + entries.length, entries.length, bytes);
  }

  #snapshot(p: Progress): void {
    const { id, term, applied } = this.#node;
    // Nobody would take it.
    if (!p.active) return;
    const meta = this.#node.metaAt(applied);
    if (!meta) return;
    p.snapshot(meta.index);
    this.#node.send({ type: "snapshot", from: id, to: p.id, term, meta });
  }
}
