// The members of a store as one: calls go to one of them, and on to the next
// when it can't be reached.

import { type Channel, connect } from "../rpc/client.ts";
import { type Address, Code, RpcError, type TlsClientOptions } from "../rpc/types.ts";
import { Backoff } from "./backoff.ts";
import { StoreError } from "./etcd.ts";

/** An endpoint as etcd's clients write it: host:port, or a URL of http, https or unix. */
export function parseEndpoint(text: string): { address: Address; secure: boolean } {
  const unix = /^(unixs?):\/\/(.+)$/.exec(text);
  if (unix) return { address: { unix: unix[2]! }, secure: unix[1] === "unixs" };
  const url =
    URL.canParse(text) && /^https?:/.test(text) ? new URL(text) : URL.canParse(`http://${text}`) ? new URL(`http://${text}`) : undefined;
  const port = url?.port || (/:(\d+)\/?$/.exec(text)?.[1] ?? "2379");
  if (!url?.hostname) throw new StoreError("invalid", `${JSON.stringify(text)} is no endpoint of a store`);
  return { address: { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(port) }, secure: url.protocol === "https:" };
}

/** Whether a call failed for the connection's sake, and may be answered by another member. */
export const isUnreachable = (error: unknown) =>
  error instanceof RpcError &&
  error.code !== Code.Canceled &&
  (error.code === Code.Unavailable || error.cause !== undefined) &&
  error.code !== Code.DeadlineExceeded;

/** Whether it failed before the server can have seen it. */
const neverSent = (error: RpcError) => error.code === Code.Unavailable && /^connection to /.test(error.message);

export class Endpoints {
  readonly #channels: Channel[];
  #current = 0;

  constructor(endpoints: readonly string[], tls: TlsClientOptions | undefined, connectTimeout: number) {
    if (endpoints.length === 0) throw new StoreError("invalid", "a store needs at least one endpoint");
    this.#channels = endpoints.map((text) => {
      const { address, secure } = parseEndpoint(text);
      return connect(address, {
        tls: secure ? (tls ?? {}) : undefined,
        connectTimeout,
        // A list of everything may be large; the store bounds what a request may be.
        maxReceiveSize: 2 ** 31 - 1,
        keepalive: { interval: 10_000, timeout: 10_000 },
      });
    });
  }

  get channel(): Channel {
    return this.#channels[this.#current]!;
  }

  /** Turns to the next, unless another call has already. */
  next(failed: Channel): void {
    if (this.channel === failed) this.#current = (this.#current + 1) % this.#channels.length;
  }

  /**
   * Makes a call, at each endpoint in turn for a while.
   *
   * @param again whether the call may be made again although a server may have carried it out
   */
  async call<T>(again: boolean, call: (channel: Channel) => Promise<T>): Promise<T> {
    const backoff = new Backoff({ initial: 20, max: 500, factor: 2, jitter: 0.5 });
    for (let attempt = 1; ; attempt++) {
      const { channel } = this;
      try {
        return await call(channel);
      } catch (error) {
        if (!isUnreachable(error)) throw error;
        this.next(channel);
        if (attempt >= this.#channels.length + 2 || !(again || neverSent(error as RpcError))) throw error;
        if (attempt >= this.#channels.length) await new Promise((resolve) => setTimeout(resolve, backoff.next()));
      }
    }
  }

  close(): void {
    for (const channel of this.#channels) channel.close();
  }
}

/** A queue of requests for a stream. */
export class Requests<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  push(item: T): void {
    this.#items.push(item);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
