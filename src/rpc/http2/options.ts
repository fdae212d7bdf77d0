import type { PingPolicy } from "./pings.ts";
import type { Stream, StreamListener } from "./stream.ts";

export interface ConnectionOptions {
  /** Streams that the peer may have open. Default 1000; a client allows none. */
  maxConcurrentStreams?: number;
  /** Bytes of a decoded header list, or of a head of HTTP/1.1. Default 64 KiB. */
  maxHeaderListSize?: number;
  /** Bytes that a peer may send on a stream before it is given more. Default 1 MiB. */
  streamWindow?: number;
  /** The same for all streams together. Default 4 MiB. */
  connectionWindow?: number;
  /** The id of a client's first stream. Default 1; each connection has ids for 2^30 requests. */
  firstStreamId?: number;
  /** For servers: send clients away that ping more often. Default: any may. */
  pings?: PingPolicy;
  /** Milliseconds; for rate limits only. */
  now?: () => number;
}

export interface ConnectionEvents {
  /** `output` has something to send, or the connection has ended. */
  wake(): void;
  /** A request has come; a server returns who listens to the rest of it. The same array may come again: see keep(). */
  request?(stream: Stream, fields: readonly string[], end: boolean): StreamListener | undefined;
  /** The peer's SETTINGS have come, for the first time or again. */
  settings?(): void;
  pong?(): void;
  /** No stream may be started any more. `clean` when there was no error. */
  goingAway?(clean: boolean, reason: string): void;
  /** A stream has ended; `open` are left. */
  streamEnded?(open: number): void;
}
