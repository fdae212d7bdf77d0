import { ClosedStreams, type Closing } from "./closed.ts";
import { ErrorCode, Http2Error } from "./errors.ts";
import { MAX_WINDOW } from "./frame.ts";
import type { Stream } from "./stream.ts";

/** A client uses no ids from here on: some thousands before the last there is, whose like servers seldom meet. */
export const IDS_END = MAX_WINDOW - 2 * 4096;

/** The streams of a connection: those that are open, which ids are used up, and how the last ones closed. */
export class StreamTable {
  readonly #client: boolean;
  readonly #open = new Map<number, Stream>();
  readonly #closed = new ClosedStreams();
  #nextId: number;
  /** The highest id that the peer has used. */
  lastPeerId = 0;

  constructor(client: boolean, firstId = 1) {
    this.#client = client;
    this.#nextId = firstId;
  }

  get size(): number {
    return this.#open.size;
  }

  get idsLeft(): boolean {
    return this.#nextId < IDS_END;
  }

  /** For a stream of a client's own. */
  takeId(): number {
    const id = this.#nextId;
    this.#nextId += 2;
    return id;
  }

  get(id: number): Stream | undefined {
    return this.#open.get(id);
  }

  add(stream: Stream): void {
    this.#open.set(stream.id, stream);
  }

  /** Returns false where it is not among them any more. */
  remove(id: number, how: "ended" | "reset by the peer" | "reset here"): boolean {
    if (!this.#open.delete(id)) return false;
    this.#closed.add(id, how);
    return true;
  }

  /** A stream of the peer's that is not to be opened at all. */
  refuse(id: number): void {
    this.#closed.add(id, "reset here");
  }

  /** Bytes that wait to be sent on them. */
  get queued(): number {
    let sum = 0;
    for (const { queued } of this.#open.values()) sum += queued;
    return sum;
  }

  values(): Stream[] {
    return [...this.#open.values()];
  }

  /** Empties the table and returns what was in it. */
  clear(): Stream[] {
    const all = this.values();
    this.#open.clear();
    return all;
  }

  /** Throws Http2Error for a stream that was never there, nor passed over. */
  checkIdle(id: number): void {
    const last = this.#client === (id % 2 === 1) ? this.#nextId - 2 : this.lastPeerId;
    if (id > last) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `a frame for the idle stream ${id}`);
  }

  /** How a stream closed that is not open. Throws Http2Error for one that is idle. */
  closing(id: number): Closing {
    this.checkIdle(id);
    return this.#closed.find(id);
  }
}
