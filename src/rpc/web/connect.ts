// The Connect protocol (connectrpc.com/docs/protocol): unary calls as plain
// POSTs of protobuf or JSON, streams as enveloped messages.
import { binaryCodec, type CallPeer, type Codec } from "../call.ts";
import type { Exchange } from "../exchange.ts";
import { decompress } from "../grpc/compression.ts";
import { Deframer, prefix, tooLarge } from "../grpc/framing.ts";
import { appendHeaders } from "../metadata.ts";
import { protobufEs } from "../protobuf.ts";
import type { RawMessage } from "../raw.ts";
import type { BoundMethod } from "../service.ts";
import { Code, RpcError } from "../types.ts";
import { bytesOf, fieldOf, WebCall, type WebOptions } from "./base.ts";

const jsonCodec: Codec = {
  decode: (desc, bytes) => protobufEs().fromJsonString(desc, new TextDecoder().decode(bytes), { ignoreUnknownFields: true }),
  encode: (desc, message) => new TextEncoder().encode(protobufEs().toJsonString(desc, message)),
  binary: false,
};

/** Names of codes, and the HTTP status that a unary answer has with them. */
const CODES: Record<Code, [name: string, status: number]> = {
  [Code.OK]: ["ok", 200],
  [Code.Canceled]: ["canceled", 499],
  [Code.Unknown]: ["unknown", 500],
  [Code.InvalidArgument]: ["invalid_argument", 400],
  [Code.DeadlineExceeded]: ["deadline_exceeded", 504],
  [Code.NotFound]: ["not_found", 404],
  [Code.AlreadyExists]: ["already_exists", 409],
  [Code.PermissionDenied]: ["permission_denied", 403],
  [Code.ResourceExhausted]: ["resource_exhausted", 429],
  [Code.FailedPrecondition]: ["failed_precondition", 400],
  [Code.Aborted]: ["aborted", 409],
  [Code.OutOfRange]: ["out_of_range", 400],
  [Code.Unimplemented]: ["unimplemented", 501],
  [Code.Internal]: ["internal", 500],
  [Code.Unavailable]: ["unavailable", 503],
  [Code.DataLoss]: ["data_loss", 500],
  [Code.Unauthenticated]: ["unauthenticated", 401],
};

const END_STREAM = 2;
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const errorOf = (error: RpcError) => ({ code: CODES[error.code][0], ...(error.message ? { message: error.message } : {}) });

function codecOf(contentType: string): Codec {
  return contentType.includes("json") ? jsonCodec : binaryCodec;
}

function timeoutOf(fields: readonly string[]): number | undefined {
  const value = fieldOf(fields, "connect-timeout-ms");
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

/** One message each way, each a whole body. */
export class ConnectUnaryCall extends WebCall {
  readonly timeout: number | undefined;
  readonly #contentType: string;
  readonly #encoding: string | undefined;
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  #answer: Uint8Array | undefined;

  constructor(exchange: Exchange, fields: readonly string[], bound: BoundMethod, peer: CallPeer, options: WebOptions) {
    const contentType = fieldOf(fields, "content-type")!;
    super(exchange, fields, bound, codecOf(contentType), peer, options);
    this.#contentType = contentType;
    this.#encoding = fieldOf(fields, "content-encoding");
    this.timeout = timeoutOf(fields);
  }

  protected body(chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.options.maxReceiveSize) throw tooLarge(this.#size, this.options.maxReceiveSize);
    this.exchange.consume(chunk.length);
    this.#parts.push(chunk.slice());
  }

  protected bodyEnd(): void {
    const body = new Uint8Array(Buffer.concat(this.#parts));
    const packed = this.#encoding !== undefined && this.#encoding !== "identity";
    try {
      this.call.message(packed ? decompress(body, this.#encoding, this.options.maxReceiveSize) : body, 0);
    } catch (error) {
      return this.call.finish(error as RpcError);
    }
    this.call.requestsEnd();
  }

  send(message: RawMessage): boolean {
    this.#answer = bytesOf(message);
    return true;
  }

  finish(error: RpcError | undefined): void {
    const body = error ? json(errorOf(error)) : this.#answer!;
    const fields = [":status", String(error ? CODES[error.code][1] : 200), "content-type", error ? "application/json" : this.#contentType];
    fields.push("content-length", String(body.length));
    const { headersSet, trailersSet } = this.call;
    if (headersSet) appendHeaders(fields, headersSet);
    for (const headers of [trailersSet, error?.metadata]) {
      for (const [name, value] of headers ?? []) fields.push(`trailer-${name}`, value);
    }
    this.exchange.sendHeaders(fields);
    this.exchange.sendData(body, true);
  }
}

/** Any number of messages each way, in envelopes; the last of the answer's carries the status. */
export class ConnectStreamCall extends WebCall {
  readonly timeout: number | undefined;
  readonly #contentType: string;
  readonly #deframer: Deframer;
  #sentHead = false;

  constructor(exchange: Exchange, fields: readonly string[], bound: BoundMethod, peer: CallPeer, options: WebOptions) {
    const contentType = fieldOf(fields, "content-type")!;
    super(exchange, fields, bound, codecOf(contentType), peer, options);
    this.#contentType = contentType;
    this.timeout = timeoutOf(fields);
    const encoding = fieldOf(fields, "connect-content-encoding");
    this.#deframer = new Deframer(options.maxReceiveSize, ({ flags, data, cost }) => {
      this.call.message(flags & 1 ? decompress(data, encoding, options.maxReceiveSize) : data, cost);
    });
  }

  protected body(chunk: Uint8Array): void {
    const loose = this.#deframer.push(chunk);
    if (loose > 0) this.exchange.consume(loose);
  }

  protected bodyEnd(): void {
    if (this.#deframer.partial) this.call.finish(new RpcError(Code.InvalidArgument, "the request ended within a message"));
    else this.call.requestsEnd();
  }

  send(message: RawMessage): boolean {
    this.#head();
    const bytes = bytesOf(message);
    return this.exchange.sendData(bytes, false, prefix(bytes.length));
  }

  finish(error: RpcError | undefined): void {
    this.#head();
    const metadata: Record<string, string[]> = {};
    for (const headers of [this.call.trailersSet, error?.metadata]) for (const [name, value] of headers ?? []) metadata[name] = [value];
    const end = json({ ...(error ? { error: errorOf(error) } : {}), ...(Object.keys(metadata).length > 0 ? { metadata } : {}) });
    this.exchange.sendData(end, true, prefix(end.length, END_STREAM));
  }

  #head(): void {
    if (this.#sentHead) return;
    this.#sentHead = true;
    const fields = [":status", "200", "content-type", this.#contentType];
    if (this.call.headersSet) appendHeaders(fields, this.call.headersSet);
    this.exchange.sendHeaders(fields);
  }
}
