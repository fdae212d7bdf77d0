// What the streaming protocols are built on: a channel of bytes to a peer, and
// the streams of bytes that one of them may carry.

/** A connection as a pipe of bytes both ways: a socket, or binary messages of a WebSocket. */
export interface ByteChannel {
  /** Begins to read. Called once. */
  start(events: ChannelEvents): void;
  /** Returns false when more than enough is queued: wait for `drain`. */
  write(data: Uint8Array): boolean;
  /** Ends it after all that was written. */
  end(): void;
  destroy(): void;
  pause(): void;
  resume(): void;
}

export interface ChannelEvents {
  data(chunk: Uint8Array): void;
  drain(): void;
  /** Nothing more comes and nothing more can be sent. Called once. */
  closed(error: Error | undefined): void;
}

/** Bytes both ways, each of which ends by itself. */
export interface ByteStream {
  /** What the other side sends, until it ends its half; throws when it breaks off. */
  readonly readable: AsyncIterable<Uint8Array>;
  /** Returns a promise where the caller should wait before it writes more. */
  write(data: Uint8Array): Promise<void> | undefined;
  /** Ends this side's half. */
  end(): void;
  /** Breaks both off. */
  reset(): void;
}

/** Copies what `from` sends into `to`, and its end. */
export async function copy(from: AsyncIterable<Uint8Array>, to: ByteStream): Promise<void> {
  for await (const chunk of from) {
    const wait = to.write(chunk);
    if (wait) await wait;
  }
  to.end();
}
