// What a leader knows of a follower, and how eagerly it sends to it.
//
//   probe      where the logs part is not known yet: one append at a time
//   replicate  appends follow each other without waiting, up to a limit
//   snapshot   what it needs is no longer in the log: nothing, until it has the state
import { Inflight } from "./inflight.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

export class Progress {
  readonly id: bigint;
  /** Its log is known to agree with ours, and to be durable, up to here. */
  match = 0;
  /** What is sent next. */
  next: number;
  state: ProgressState = "probe";
  readonly inflight: Inflight;
  /** Commit index that it was told last. */
  toldCommit = 0;
  /** Of the snapshot that it is being sent. */
  pendingSnapshot = 0;
  /** Heard from since quorum was checked last; a new member has the benefit of the doubt. */
  active = true;
  /** Was so at that check: right after it, nobody can have been heard from. */
  wasActive = false;
  /** An answer to the last probe is outstanding. */
  probing = false;
  /** Something is to be sent even if nothing seems to be missing: an earlier message may be lost. */
  nudge = false;
  /** Newest round of reads that it confirmed. */
  round = 0;
  /** Until when it gives nobody else a vote, on our clock: counted from when the heartbeat that it answered was sent. */
  promisedUntil = Number.NEGATIVE_INFINITY;

  constructor(id: bigint, next: number, maxInflight: number, maxInflightBytes: number) {
    this.id = id;
    this.next = next;
    this.inflight = new Inflight(maxInflight, maxInflightBytes);
  }

  /** Whether nothing may be sent to it now. */
  get paused(): boolean {
    if (this.state === "replicate") return this.inflight.full;
    return this.state === "snapshot" || this.probing;
  }

  probe(next: number): void {
    this.#enter("probe");
    this.next = next;
  }

  replicate(): void {
    this.#enter("replicate");
    this.next = this.match + 1;
  }

  snapshot(index: number): void {
    this.#enter("snapshot");
    this.pendingSnapshot = index;
  }

  sent(lastIndex: number, entries: number, bytes: number): void {
    if (this.state === "probe") this.probing = true;
    else if (entries > 0) {
      this.next = lastIndex + 1;
      this.inflight.add(lastIndex, bytes);
    }
  }

  /** It has the log up to here. Returns whether that is news. */
  acknowledged(index: number): boolean {
    const news = index > this.match;
    if (news) this.match = index;
    this.next = Math.max(this.next, index + 1);
    if (this.state === "replicate") this.inflight.freeTo(index);
    return news;
  }

  /**
   * It does not have what should stand before an append.
   *
   * @param prev the index that did not fit
   * @param agreeing the last index at which both may agree
   * @returns false if the answer is an old one
   */
  rejected(prev: number, agreeing: number): boolean {
    if (this.state === "snapshot" || prev <= this.match) return false;
    // A probe's answer is to the last probe, or to something older.
    if (this.state === "probe" && prev !== this.next - 1) return false;
    this.probe(Math.max(Math.min(prev, agreeing + 1), this.match + 1));
    return true;
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.probing = false;
    this.nudge = false;
    this.pendingSnapshot = 0;
    this.inflight.clear();
  }
}
