// The Connect protocol (connectrpc.com/docs/protocol): unary calls as plain
// POSTs of protobuf or JSON, streams as enveloped messages.
import { binaryCodec, type CallPeer, type Codec } from "../call.ts";
import type { Exchange } from "../exchange.ts";
import { decompress, listsGzip } from "../grpc/compression.ts";
import { Deframer, prefix, tooLarge } from "../grpc/framing.ts";
import type { StreamListener } from "../http2/stream.ts";
import { appendHeaders, encodeBinary } from "../metadata.ts";
import { protobufEs } from "../protobuf.ts";
import type { RawMessage } from "../raw.ts";
import type { BoundMethod } from "../service.ts";
import { Code, RpcError } from "../types.ts";
import { fieldOf, WebCall, type WebOptions } from "./base.ts";

const jsonCodec: Codec = {
  decode: (desc, bytes) => protobufEs().fromJsonString(desc, new TextDecoder().decode(bytes), { ignoreUnknownFields: true }),
  encode: (desc, message) => new TextEncoder().encode(protobufEs().toJsonString(desc, message)),
  binary: false,
  malformed: Code.InvalidArgument,
};
const protoCodec: Codec = { ...binaryCodec, malformed: Code.InvalidArgument };

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
const errorOf = ({ code, message, details }: RpcError) => ({
  code: CODES[code][0],
  ...(message ? { message } : {}),
  ...(details.length > 0 ? { details: details.map(({ type, value }) => ({ type, value: encodeBinary(value) })) } : {}),
});

const codecOf = (contentType: string): Codec => (contentType.includes("json") ? jsonCodec : protoCodec);

/** What is wrong with the fields of every request of Connect. */
function problemOf(fields: readonly string[]): RpcError | undefined {
  const version = fieldOf(fields, "connect-protocol-version");
  if (version !== undefined && version !== "1") {
    return new RpcError(Code.InvalidArgument, `connect-protocol-version must be "1": got ${JSON.stringify(version)}`);
  }
  const timeout = fieldOf(fields, "connect-timeout-ms");
  if (timeout === undefined || /^\d{1,10}$/.test(timeout)) return undefined;
  return new RpcError(Code.InvalidArgument, `protocol error: invalid timeout ${JSON.stringify(timeout)}`);
}

function timeoutOf(fields: readonly string[]): number | undefined {
  const value = fieldOf(fields, "connect-timeout-ms");
  return value === undefined ? undefined : Number(value);
}

/** One message each way, each a whole body. */
export class ConnectUnaryCall extends WebCall {
  readonly timeout: number | undefined;
  readonly #contentType: string;
  readonly #encoding: string | undefined;
  readonly #takesGzip: boolean;
  readonly #problem: RpcError | undefined;
  readonly #parts: Uint8Array[] = [];
  #size = 0;
  #answer: RawMessage | undefined;

  /** @param body in place of what the fields say of a POST's */
  constructor(
    exchange: Exchange,
    fields: readonly string[],
    bound: BoundMethod,
    peer: CallPeer,
    options: WebOptions,
    body: { contentType: string; encoding: string | undefined } = {
      contentType: fieldOf(fields, "content-type")!,
      encoding: fieldOf(fields, "content-encoding"),
    },
  ) {
    super(exchange, fields, bound, codecOf(body.contentType), peer, options);
    this.#contentType = body.contentType;
    this.#encoding = body.encoding;
    this.#takesGzip = listsGzip(fieldOf(fields, "accept-encoding"));
    this.#problem = problemOf(fields);
    this.timeout = this.#problem ? undefined : timeoutOf(fields);
  }

  override start(timeout: number | undefined, end: boolean): void {
    if (this.#problem) return this.call.finish(this.#problem);
    super.start(timeout, end);
  }

  protected body(chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.options.maxReceiveSize) throw tooLarge(this.#size, this.options.maxReceiveSize);
    this.exchange.consume(chunk.length);
    this.#parts.push(chunk.slice());
  }

  protected bodyEnd(): void {
    // Most come as one.
    const body = this.#parts.length === 1 ? this.#parts[0]! : new Uint8Array(Buffer.concat(this.#parts));
    const packed = this.#encoding !== undefined && this.#encoding !== "identity";
    try {
      this.call.message(packed ? decompress(body, this.#encoding, this.options.maxReceiveSize) : body, 0);
    } catch (error) {
      return this.call.finish(error as RpcError);
    }
    this.call.requestsEnd();
  }

  send(message: RawMessage): boolean {
    this.#answer = message;
    return true;
  }

  finish(error: RpcError | undefined): void {
    const { flags, data: body } = error ? { flags: 0, data: json(errorOf(error)) } : this.frameOf(this.#answer!, this.#takesGzip);
    const fields = [":status", String(error ? CODES[error.code][1] : 200), "content-type", error ? "application/json" : this.#contentType];
    fields.push("content-length", String(body.length));
    if (flags) fields.push("content-encoding", "gzip");
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
  readonly #takesGzip: boolean;
  readonly #problem: RpcError | undefined;
  #sentHead = false;

  constructor(exchange: Exchange, fields: readonly string[], bound: BoundMethod, peer: CallPeer, options: WebOptions) {
    const contentType = fieldOf(fields, "content-type")!;
    super(exchange, fields, bound, codecOf(contentType), peer, options);
    this.#contentType = contentType;
    this.#problem = problemOf(fields);
    this.timeout = this.#problem ? undefined : timeoutOf(fields);
    this.#takesGzip = options.compressFrom < Number.POSITIVE_INFINITY && listsGzip(fieldOf(fields, "connect-accept-encoding"));
    const encoding = fieldOf(fields, "connect-content-encoding");
    const frame = (flags: number, data: Uint8Array, cost: number) =>
      this.call.message(flags & 1 ? decompress(data, encoding, options.maxReceiveSize) : data, cost);
    this.#deframer = new Deframer(options.maxReceiveSize, { frame });
  }

  override start(timeout: number | undefined, end: boolean): void {
    if (this.#problem) return this.call.finish(this.#problem);
    super.start(timeout, end);
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
    const { flags, data } = this.frameOf(message, this.#takesGzip);
    return this.exchange.sendData(data, false, prefix(data.length, flags));
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
    if (this.#takesGzip) fields.push("connect-content-encoding", "gzip");
    if (this.call.headersSet) appendHeaders(fields, this.call.headersSet);
    this.exchange.sendHeaders(fields);
  }
}

/** A unary call as GET, whose request stands in the query: for methods without side effects, so that answers may be cached. */
export function connectGet(
  exchange: Exchange,
  fields: readonly string[],
  query: URLSearchParams,
  bound: BoundMethod,
  peer: CallPeer,
  options: WebOptions,
): StreamListener | undefined {
  const encoding = query.get("encoding");
  if (encoding !== "proto" && encoding !== "json") return undefined;
  const text = query.get("message") ?? "";
  const message = query.get("base64") === "1" ? Buffer.from(text, "base64url") : Buffer.from(text, "utf8");
  const body = { contentType: `application/${encoding}`, encoding: query.get("compression") ?? undefined };
  const call = new ConnectUnaryCall(exchange, fields, bound, peer, options, body);
  call.start(call.timeout, false);
  call.data(new Uint8Array(message), true);
  return call;
}
