// The way to one other member: a stream of messages that is made anew whenever
// it ends. What can't be sent soon is dropped, because Raft repeats what matters.
import { logger } from "../../platform/log.ts";
import { type Channel, connect, createClient, openRequests, type RequestStream } from "../../rpc/client.ts";
import { Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import { Raft } from "../../rpc/gen/kubun/store/raft_pb.ts";
import type { Address, Client, RpcError, TlsClientOptions } from "../../rpc/types.ts";
import type { Message } from "../raft/messages.ts";
import { encodeMessages } from "../raft/wire.ts";
import type { Identity } from "../wal/format.ts";
import { Probe } from "./probe.ts";
import { type SnapshotSource, sendSnapshot } from "./snapshot.ts";
import { addressOf } from "./url.ts";

export interface LinkOptions {
  readonly id: bigint;
  readonly urls: readonly string[];
  /** Metadata that says who calls whom. */
  readonly headers: Record<string, string>;
  readonly tls: TlsClientOptions | undefined;
  /** Milliseconds of silence after which a connection is given up. */
  readonly silence: number;
  /** Messages are known to be lost. */
  unreachable(): void;
  /** How long an answer took. */
  roundTrip(seconds: number): void;
  /** What the other member says of why it takes no messages. */
  refused(error: RpcError): void;
}

/** Messages and bytes that may wait. */
const MOST_MESSAGES = 4096;
const MOST_BYTES = 64 * 1024 * 1024;
/** Bytes of messages that go together. */
const BATCH_BYTES = 1024 * 1024;
/** Different errors of a peer that are told until it is there again. */
const MOST_SAID = 8;
const MAX_MESSAGE = 512 * 1024 * 1024;

export class PeerLink {
  readonly options: LinkOptions;
  #channel: Channel;
  #url = 0;
  #queue: Message[] = [];
  #bytes = 0;
  /** Where messages go once there is a connection. */
  #requests: RequestStream | undefined;
  /** The connection takes no more for now. */
  #full = false;
  #streaming = false;
  #connectedAt: number | undefined;
  #closed = false;
  /** The other member has said so; until it is connected anew. */
  stopping = false;
  /** Bytes of messages, and messages or connections that were lost, for metrics. */
  sentBytes = 0;
  failures = 0;
  /** Connections that stood and ended. */
  disconnects = 0;
  readonly #probe: Probe;
  /** What was said of it since it was there: several URLs fail in turn, each in its own words. */
  readonly #said = new Set<string>();

  constructor(options: LinkOptions) {
    this.options = options;
    this.#channel = this.#dial();
    const { silence } = options;
    this.#probe = new Probe(() => this.peer.describe({}, { timeout: Math.max(silence, 1000) }), options.roundTrip);
  }

  /** When the connection that stands was made, in milliseconds. */
  get connectedSince(): number | undefined {
    return this.#connectedAt;
  }

  get peer(): Client<typeof Peer> {
    return createClient(Peer, this.#channel);
  }

  /** Resolves when the other member has it on its disk. Rejects with RpcError. */
  sendSnapshot(source: SnapshotSource, target: Identity & { to: bigint; term: number }): Promise<void> {
    return sendSnapshot(createClient(Raft, this.#channel), source, target);
  }

  /** Takes a message; flush() sends it. */
  send(message: Message): void {
    if (this.#closed) return;
    const size = sizeOf(message);
    if (this.#queue.length >= MOST_MESSAGES || (this.#bytes > 0 && this.#bytes + size > MOST_BYTES)) {
      this.failures++;
      this.options.unreachable();
      return;
    }
    this.#queue.push(message);
    this.#bytes += size;
    if (!this.#streaming) this.#stream();
  }

  /** Gives the connection what was taken, as far as it has room. */
  flush(): void {
    while (this.#requests && !this.#full && this.#queue.length > 0) {
      const batch = encodeMessages(this.#take());
      this.sentBytes += batch.length;
      const room = this.#requests.send(batch);
      if (!room) continue;
      const requests = this.#requests;
      this.#full = true;
      room.then(() => {
        if (this.#requests !== requests) return;
        this.#full = false;
        this.flush();
      });
    }
  }

  close(): void {
    this.#closed = true;
    this.#probe.stop();
    this.#channel.close();
  }

  #dial(): Channel {
    const { urls, headers, tls, silence } = this.options;
    const url = urls[this.#url++ % urls.length]!;
    const address: Address = addressOf(url);
    return connect(address, {
      tls: url.startsWith("https:") ? (tls ?? {}) : undefined,
      headers,
      maxReceiveSize: MAX_MESSAGE,
      connectTimeout: Math.max(silence, 1000),
      backoff: { initial: 50, max: 1000 },
      keepalive: { interval: silence, timeout: silence, withoutStreams: true },
    });
  }

  #stream(): void {
    this.#streaming = true;
    const started = performance.now();
    const over = new AbortController();
    const ended = (error?: RpcError) => {
      over.abort();
      this.#requests = undefined;
      this.#full = false;
      this.#probe.stop();
      if (this.#connectedAt !== undefined) this.disconnects++;
      this.#connectedAt = undefined;
      this.#queue = [];
      this.#bytes = 0;
      if (this.#closed) return;
      if (error) this.#tell(error);
      this.failures++;
      this.options.unreachable();
      // Another URL may lead to the member; and no more than one attempt at a time.
      if (this.options.urls.length > 1) {
        this.#channel.close();
        this.#channel = this.#dial();
      }
      const wait = performance.now() - started > 1000 ? 0 : 100;
      setTimeout(() => {
        this.#streaming = false;
        if (this.#queue.length > 0 && !this.#closed) this.#stream();
      }, wait).unref();
    };
    const requests = openRequests(this.#channel, Raft.method.send, ended);
    const connected = () => {
      if (over.signal.aborted || this.#closed) return;
      this.#connectedAt = performance.now();
      this.#requests = requests;
      this.#probe.start();
      this.stopping = false;
      if (this.#said.size > 0) logger("etcd").info("Connected to a peer again", { peer: this.options.id.toString(16) });
      this.#said.clear();
      this.flush();
    };
    const noConnection = () => {
      // The call ends too, and tells why.
    };
    this.#channel.ready(over.signal).then(connected, noConnection);
  }

  #tell(error: RpcError): void {
    this.options.refused(error);
    if (this.#said.size >= MOST_SAID || this.#said.has(error.message)) return;
    this.#said.add(error.message);
    // Nobody has to look after one that has said that it stops.
    if (this.stopping) return logger("etcd").info("A peer has stopped", { peer: this.options.id.toString(16) }, 1);
    logger("etcd").warn("A peer can't be reached", {
      peer: this.options.id.toString(16),
      urls: this.options.urls.join(),
      error: error.message,
    });
  }

  #take(): Message[] {
    let n = 0;
    let bytes = 0;
    while (n < this.#queue.length && bytes < BATCH_BYTES) bytes += sizeOf(this.#queue[n++]!);
    const batch = n === this.#queue.length ? this.#queue : this.#queue.slice(0, n);
    this.#queue = n === this.#queue.length ? [] : this.#queue.slice(n);
    this.#bytes = Math.max(0, this.#bytes - bytes);
    return batch;
  }
}

/** About how many bytes a message takes. */
function sizeOf(m: Message): number {
  let size = 64;
  if (m.type === "append") for (const e of m.entries) size += e.data.length + 24;
  else if (m.type === "propose") for (const d of m.datas) size += d.length + 8;
  return size;
}
