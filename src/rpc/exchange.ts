import type { ErrorCode } from "./http2/errors.ts";

/**
 * A request's answer on its way out, as the protocols see it: a stream of
 * HTTP/2, or one turn of a connection of HTTP/1.1.
 */
export interface Exchange {
  /** Names and values in turn, `:status` first; with `end` there is no body. */
  sendHeaders(fields: readonly string[], end?: boolean): void;
  /** Returns false when something is left in the queue: wait for `drain`. */
  sendData(data: Uint8Array, end?: boolean, prefix?: Uint8Array): boolean;
  end(): void;
  /** So many bytes of the request have been used. */
  consume(bytes: number): void;
  /** The request's body is wanted: a client that waits to be told so is told (100 Continue). */
  proceed?(): void;
  /** It is such a client, and has not been told. */
  readonly withheld?: boolean;
  /** Breaks it off. */
  reset(code: ErrorCode): void;
}
