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

/** Metadata that has a member end a stream when it has lost touch with the others, as what it tells may be old by then. */
export const REQUIRE_LEADER = { hasleader: "true" };

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
        // A member that is gone without a word is noticed before leases of the cluster run out.
        keepalive: { interval: 5000, timeout: 5000 },
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
   * Makes a call at one endpoint, and at the next where that can't be reached or
   * stays silent, until `timeout` milliseconds are over.
   *
   * @param again whether the call may be made again although a server may have
   *   carried it out; one that never left is made again in any case
   * @param call gets the milliseconds that its attempt may take
   */
  async call<T>(again: boolean, timeout: number, call: (channel: Channel, timeout: number) => Promise<T>): Promise<T> {
    const backoff = new Backoff({ initial: 20, max: 500, factor: 2, jitter: 0.5 });
    const end = performance.now() + timeout;
    // A member that stays silent leaves time for the others.
    const longest = again && this.#channels.length > 1 ? timeout / 3 : timeout;
    for (let attempt = 1; ; attempt++) {
      const { channel } = this;
      try {
        return await call(channel, Math.min(longest, Math.max(1, end - performance.now())));
      } catch (error) {
        const silent = error instanceof RpcError && error.code === Code.DeadlineExceeded;
        if (!silent && !isUnreachable(error)) throw error;
        this.next(channel);
        if (!again && (silent || !neverSent(error as RpcError))) throw error;
        const pause = attempt % this.#channels.length === 0 ? backoff.next() : 0;
        if (performance.now() + pause >= end) throw error;
        if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
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
