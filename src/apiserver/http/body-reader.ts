// The body of a request as it comes, and whether its client is still there.
import type { Exchange } from "../../rpc/exchange.ts";
import type { StreamListener } from "../../rpc/http2/stream.ts";

/** The request's body does not come to its end. */
export class BodyError extends Error {
  override name = "BodyError";
  /** It takes longer than it may. */
  readonly late: boolean;
  constructor(message: string, late = false) {
    super(message);
    this.late = late;
  }
}

interface Waiting {
  limit: number;
  resolve(body: Uint8Array | undefined): void;
  reject(error: BodyError): void;
  timer: Timer;
}

const NOTHING = new Uint8Array(0);
/** Of a body that is too long, what is read nevertheless: few clients look for an answer before they have sent all. */
const DRAINED = 16 * 1024 * 1024;
/** What a stream of the body holds at most, beyond the last chunk. */
const STREAMED = 256 * 1024;

/** Takes a body as it comes. */
interface Flow {
  take(chunk: Uint8Array): void;
  end(): void;
  fail(error: BodyError): void;
}

export class BodyReader implements StreamListener {
  readonly #exchange: Exchange | undefined;
  /** What has come and is not read yet. */
  #chunks: Uint8Array[] = [];
  #length = 0;
  #complete: boolean;
  /** It has been read, or has been too long: nothing of it is kept. */
  #closed = false;
  #waiting: Waiting | undefined;
  #flow: Flow | undefined;
  #gone = false;
  #abort: AbortController | undefined;
  #wake: (() => void) | undefined;

  /** @param complete there is no body */
  constructor(complete: boolean, exchange: Exchange | undefined) {
    this.#complete = complete;
    this.#exchange = exchange;
  }

  /** All of the body has come. */
  get complete(): boolean {
    return this.#complete;
  }

  /** The client has left before the answer was complete. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Aborts then. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#gone) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Resolves when all that was sent is on its way, or the client is gone. */
  drained(): Promise<void> {
    return this.#gone ? Promise.resolve() : new Promise((resolve) => (this.#wake = resolve));
  }

  /**
   * All of it, once. Undefined where it is longer than `limit` bytes.
   * @param announced its length, where the client told it
   * @param timeout milliseconds until its end
   * @throws {BodyError}
   */
  read(limit: number, announced: number, timeout: number): Promise<Uint8Array | undefined> {
    if (this.#gone) return Promise.reject(new BodyError("the client closed the request"));
    if (announced > limit && (this.#exchange?.withheld || announced > limit + DRAINED)) {
      this.#close();
      return Promise.resolve(undefined);
    }
    this.#exchange?.proceed?.();
    this.#exchange?.consume(this.#length);
    if (this.#complete) return Promise.resolve(this.#length > limit ? undefined : this.#close());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(new BodyError("request did not complete within requested timeout", true)), timeout);
      this.#waiting = { limit, resolve, reject, timer };
    });
  }

  /** The body as it comes, and no faster than it is read; in place of read(). It fails with a BodyError. */
  stream(): ReadableStream<Uint8Array> {
    this.#exchange?.proceed?.();
    let owed = 0;
    const start = (to: ReadableStreamDefaultController<Uint8Array>) => {
      const take = (chunk: Uint8Array) => {
        to.enqueue(chunk);
        owed += chunk.length;
        if ((to.desiredSize ?? 0) > 0) pull();
      };
      const before = this.#close();
      if (before.length > 0) take(before);
      if (this.#gone) return to.error(new BodyError("the client closed the request"));
      if (this.#complete) return to.close();
      this.#flow = { take, end: () => to.close(), fail: (error) => to.error(error) };
    };
    const pull = () => {
      this.#exchange?.consume(owed);
      owed = 0;
    };
    const cancel = () => {
      this.#flow = undefined;
    };
    return new ReadableStream({ start, pull, cancel }, { highWaterMark: STREAMED, size: (chunk) => chunk?.length ?? 0 });
  }

  /** Returns what has come and keeps nothing any more. */
  #close(): Uint8Array {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#closed = true;
    return chunks.length === 1 ? chunks[0]! : chunks.length === 0 ? NOTHING : Buffer.concat(chunks);
  }

  #settle(body: Uint8Array | undefined): void {
    const waiting = this.#waiting!;
    this.#waiting = undefined;
    clearTimeout(waiting.timer);
    waiting.resolve(body);
  }

  #fail(error: BodyError): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#close();
    if (!waiting) return;
    clearTimeout(waiting.timer);
    waiting.reject(error);
  }

  // StreamListener

  /** Trailers: nobody wants them. */
  headers(_fields: readonly string[], end: boolean): void {
    if (end) this.data(NOTHING, true);
  }

  data(chunk: Uint8Array, end: boolean): void {
    this.#complete ||= end;
    if (this.#flow) {
      if (chunk.length > 0) this.#flow.take(chunk);
      if (end) this.#flow.end();
      return;
    }
    const waiting = this.#waiting;
    if (this.#closed && !waiting) return;
    this.#length += chunk.length;
    if (waiting && this.#length > waiting.limit) {
      this.#close();
      if (end || this.#length > waiting.limit + DRAINED) return this.#settle(undefined);
    } else {
      if (chunk.length > 0) this.#chunks.push(chunk);
      if (end && waiting) return this.#settle(this.#close());
    }
    if (waiting) this.#exchange?.consume(chunk.length);
  }

  drain(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  failed(): void {
    if (this.#gone) return;
    this.#gone = true;
    const error = new BodyError("the client closed the request");
    if (!this.#complete) this.#flow?.fail(error);
    this.#flow = undefined;
    this.#fail(error);
    this.#abort?.abort();
    this.drain();
  }
}
