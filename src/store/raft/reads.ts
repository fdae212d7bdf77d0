// Reads that a leader was asked for and has not answered. It may answer one
// with its commit index once it knows that nobody else led when the read was
// asked for: a majority confirms that in a round of heartbeats, or promised it
// with the answers to recent ones (section 6.4 of Ongaro's dissertation).
import type { ReadMode } from "./types.ts";

export interface ReadRequest {
  readonly from: bigint;
  readonly context: number;
  readonly mode: ReadMode;
}

export class Reads {
  /** Waiting for the next round. Reads that come during a round share the next. */
  #waiting: ReadRequest[] = [];
  #asked: ReadRequest[] = [];
  #index = 0;
  #round = 0;

  /** The newest round; heartbeats carry it, so that a lost one does not hold reads up. */
  get round(): number {
    return this.#round;
  }

  add(request: ReadRequest): void {
    this.#waiting.push(request);
  }

  /** Whether a round is wanted, and none is under way. */
  get due(): boolean {
    return this.#asked.length === 0 && this.#waiting.length > 0;
  }

  /** All that wait, to be answered at once. */
  takeWaiting(): ReadRequest[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  /** @param commit what its reads are answered with */
  startRound(commit: number): void {
    this.#round++;
    this.#index = commit;
    this.#asked = this.takeWaiting();
  }

  /** A majority has confirmed this round. Returns what is answered by that, and with which index. */
  confirmed(round: number): { index: number; requests: ReadRequest[] } | undefined {
    if (round < this.#round || this.#asked.length === 0) return undefined;
    const requests = this.#asked;
    this.#asked = [];
    return { index: this.#index, requests };
  }
}
