// What gRPC-Web and Connect share: a call whose answer needs no HTTP trailers.
import { Call, type CallPeer, type CallSink, type Codec } from "../call.ts";
import type { Exchange } from "../exchange.ts";
import { compress } from "../grpc/compression.ts";
import { errorOfFailure } from "../grpc/protocol.ts";
import type { StreamFailure, StreamListener } from "../http2/stream.ts";
import { PreparedMessage, type RawMessage } from "../raw.ts";
import type { BoundMethod } from "../service.ts";
import { Code, RpcError } from "../types.ts";

export interface WebOptions {
  /** Most bytes of a request. */
  maxReceiveSize: number;
  /** Compress answers of at least this many bytes, where the client takes it. */
  compressFrom: number;
}

export abstract class WebCall implements StreamListener, CallSink {
  protected readonly exchange: Exchange;
  protected readonly call: Call;
  protected readonly options: WebOptions;

  constructor(exchange: Exchange, fields: readonly string[], bound: BoundMethod, codec: Codec, peer: CallPeer, options: WebOptions) {
    this.exchange = exchange;
    this.options = options;
    this.call = new Call(bound, this, codec, peer, fields);
  }

  start(timeout: number | undefined, end: boolean): void {
    this.call.start(timeout);
    if (end) this.bodyEnd();
  }

  headers(_fields: string[], end: boolean): void {
    if (end && !this.call.finished) this.bodyEnd();
  }

  data(chunk: Uint8Array, end: boolean): void {
    if (this.call.finished) return;
    try {
      this.body(chunk);
    } catch (error) {
      return this.call.finish(error instanceof RpcError ? error : new RpcError(Code.Internal, String(error), { cause: error }));
    }
    if (end && !this.call.finished) this.bodyEnd();
  }

  drain(): void {
    this.call.drained();
  }

  failed(failure: StreamFailure): void {
    this.call.cancel(new RpcError(Code.Canceled, "the client has canceled the call", { cause: errorOfFailure(failure) }));
  }

  consume(bytes: number): void {
    this.exchange.consume(bytes);
  }

  /** A message as it goes into a frame: compressed, where it is large and the client takes it. */
  protected frameOf(message: RawMessage, takesGzip: boolean): { flags: number; data: Uint8Array } {
    const prepared = message instanceof PreparedMessage;
    const data = prepared ? message.bytes : message;
    if (!takesGzip || data.length < this.options.compressFrom) return { flags: 0, data };
    return { flags: 1, data: prepared ? message.packed(compress) : compress(data) };
  }

  protected abstract body(chunk: Uint8Array): void;
  protected abstract bodyEnd(): void;
  abstract send(message: RawMessage): boolean;
  abstract finish(error: RpcError | undefined): void;
}

/** The value of a field; undefined where there is none. */
export function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}
