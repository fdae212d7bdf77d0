// Calls as grpc-gateway's first version serves them: a POST whose body is the
// request in JSON, a body in JSON that is the answer. A stream is one value after
// the other, each answer an object with "result" on a line of its own.
import { binaryCodec, type CallPeer } from "../../call.ts";
import type { Exchange } from "../../exchange.ts";
import { tooLarge } from "../../grpc/framing.ts";
import { parseTimeout } from "../../grpc/protocol.ts";
import type { StreamListener } from "../../http2/stream.ts";
import { PreparedMessage, type RawMessage } from "../../raw.ts";
import type { BoundMethod } from "../../service.ts";
import { Code, RpcError } from "../../types.ts";
import { fieldOf, WebCall, type WebOptions } from "../base.ts";
import { type Json, JsonError, JsonIncomplete, JsonReader } from "./json.ts";
import { jsonOf, messageOf } from "./message.ts";
import type { Gateway } from "./routes.ts";

/** The HTTP status that goes with a code, and its text. */
const STATUS: Record<Code, readonly [status: number, text: string]> = {
  [Code.OK]: [200, "OK"],
  [Code.Canceled]: [408, "Request Timeout"],
  [Code.Unknown]: [500, "Internal Server Error"],
  [Code.InvalidArgument]: [400, "Bad Request"],
  [Code.DeadlineExceeded]: [504, "Gateway Timeout"],
  [Code.NotFound]: [404, "Not Found"],
  [Code.AlreadyExists]: [409, "Conflict"],
  [Code.PermissionDenied]: [403, "Forbidden"],
  [Code.ResourceExhausted]: [429, "Too Many Requests"],
  [Code.FailedPrecondition]: [412, "Precondition Failed"],
  [Code.Aborted]: [409, "Conflict"],
  [Code.OutOfRange]: [400, "Bad Request"],
  [Code.Unimplemented]: [501, "Not Implemented"],
  [Code.Internal]: [500, "Internal Server Error"],
  [Code.Unavailable]: [503, "Service Unavailable"],
  [Code.DataLoss]: [500, "Internal Server Error"],
  [Code.Unauthenticated]: [401, "Unauthorized"],
};

const JSON_TYPE = ["content-type", "application/json"];
const TEXT_TYPE = ["content-type", "text/plain; charset=utf-8"];
const METADATA = "grpc-metadata-";
const CLOSE_BRACE = 125;
const encode = (text: string) => new TextEncoder().encode(text);
const invalid = (error: Error) => new RpcError(Code.InvalidArgument, error.message, { cause: error });

/** Answers a request at a path of the gateway. */
export function serveGateway(
  exchange: Exchange,
  fields: readonly string[],
  end: boolean,
  request: { method: string; path: string },
  gateway: Gateway,
  methods: ReadonlyMap<string, BoundMethod>,
  peer: CallPeer,
  options: WebOptions,
): StreamListener {
  const refusal = gateway.refusal?.(peer);
  if (refusal !== undefined) return say(exchange, 400, `${refusal}\n`);
  const method = gateway.route(request.path.split("?", 1)[0]!);
  const bound = method && methods.get(method);
  if (!bound) return say(exchange, 404, "Not Found\n");
  if (request.method !== "POST") return say(exchange, 405, "Method Not Allowed\n");
  // A token alone says who calls: behind a gateway, the certificate is that of the gateway.
  const caller: CallPeer = { address: peer.address, certificate: undefined };
  const streams = bound.method.methodKind === "client_streaming" || bound.method.methodKind === "bidi_streaming";
  const call = new GatewayCall(exchange, metadataOf(fields), bound, caller, options, streams);
  call.begin(fieldOf(fields, "grpc-timeout"), end);
  return call;
}

function say(exchange: Exchange, status: number, text: string): StreamListener {
  const body = encode(text);
  exchange.sendHeaders([":status", String(status), ...TEXT_TYPE, "content-length", String(body.length)]);
  exchange.sendData(body, true);
  return { headers() {}, data: (chunk) => exchange.consume(chunk.length), failed() {} };
}

/** What the handler is told of the fields of the request. */
function metadataOf(fields: readonly string[]): string[] {
  const metadata: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    if (name === "authorization") metadata.push(name, fields[i + 1]!);
    else if (name.startsWith(METADATA)) metadata.push(name.slice(METADATA.length), fields[i + 1]!);
  }
  return metadata;
}

class GatewayCall extends WebCall {
  readonly #bound: BoundMethod;
  /** The body is any number of requests. */
  readonly #manyRequests: boolean;
  readonly #unary: boolean;
  readonly #utf8 = new TextDecoder();
  #text = "";
  #size = 0;
  #requests = 0;
  /** What follows in the body is not read any more. */
  #deaf = false;
  /** The request could not be read, so that there was no stream. */
  #unread = false;
  #answer: string | undefined;
  #sentHead = false;

  constructor(
    exchange: Exchange,
    metadata: readonly string[],
    bound: BoundMethod,
    peer: CallPeer,
    options: WebOptions,
    manyRequests: boolean,
  ) {
    super(exchange, metadata, bound, binaryCodec, peer, options);
    this.#bound = bound;
    this.#manyRequests = manyRequests;
    this.#unary = bound.method.methodKind === "unary";
  }

  begin(timeout: string | undefined, end: boolean): void {
    const limit = timeout === undefined ? undefined : parseTimeout(timeout);
    if (timeout === undefined || limit !== undefined) return this.start(limit, end);
    this.#unread = true;
    this.call.finish(new RpcError(Code.InvalidArgument, `invalid grpc-timeout: ${timeout}`));
  }

  protected body(chunk: Uint8Array): void {
    this.exchange.consume(chunk.length);
    if (this.#deaf) return;
    this.#size += chunk.length;
    // What is bytes there takes a third more in base64.
    const most = 2 * this.options.maxReceiveSize;
    if (this.#size > most) throw tooLarge(this.#size, most);
    this.#text += this.#utf8.decode(chunk, { stream: true });
    if (this.#manyRequests && chunk.includes(CLOSE_BRACE)) this.#read(false);
  }

  protected bodyEnd(): void {
    this.#text += this.#utf8.decode();
    if (!this.#deaf) this.#read(true);
    if (!this.call.finished) this.call.requestsEnd();
  }

  /** Hands on the requests that the text has. */
  #read(whole: boolean): void {
    const reader = new JsonReader(this.#text);
    let read = 0;
    try {
      while (!reader.atEnd && !this.call.finished) {
        this.#request(reader.value(whole));
        read = reader.at;
        // As there, what follows the one request is not looked at.
        if (!this.#manyRequests) break;
      }
      if (whole && !this.#manyRequests && this.#requests === 0) this.#request(null);
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      if (whole || !(error instanceof JsonIncomplete)) this.#refuse(error);
    }
    this.#text = this.#text.slice(read);
    // A request may be so large, and not all of them together.
    this.#size = this.#text.length;
  }

  #request(json: Json): void {
    const { input } = this.#bound.method;
    const message = binaryCodec.encode(input, messageOf(input, json));
    const { maxReceiveSize } = this.options;
    if (message.length > maxReceiveSize) return this.call.finish(tooLarge(message.length, maxReceiveSize));
    this.#requests++;
    this.call.message(message, 0);
  }

  #refuse(error: JsonError): void {
    this.#deaf = true;
    // Within a stream that runs, it is as if the body had ended.
    if (this.#requests > 0) return this.call.requestsEnd();
    this.#unread = true;
    this.call.finish(this.#manyRequests ? new RpcError(Code.Unknown, error.message, { cause: error }) : invalid(error));
  }

  send(message: RawMessage): boolean {
    const { output } = this.#bound.method;
    const json = jsonOf(output, binaryCodec.decode(output, message instanceof PreparedMessage ? message.bytes : message));
    if (this.#unary) {
      this.#answer = json;
      return true;
    }
    this.#head(200);
    return this.exchange.sendData(encode(`{"result":${json}}\n`));
  }

  finish(error: RpcError | undefined): void {
    if (this.#unary || this.#unread) return this.#whole(error);
    if (!error) {
      this.#head(200);
      return this.exchange.end();
    }
    const [status, text] = STATUS[error.code];
    this.#head(status);
    const told = { grpc_code: error.code, http_code: status, message: error.message, http_status: text };
    this.exchange.sendData(encode(JSON.stringify({ error: told })), true);
  }

  #whole(error: RpcError | undefined): void {
    const text = error ? JSON.stringify({ error: error.message, message: error.message, code: error.code }) : this.#answer!;
    const body = encode(text);
    this.#head(error ? STATUS[error.code][0] : 200, ["content-length", String(body.length)]);
    this.exchange.sendData(body, true);
  }

  #head(status: number, more: readonly string[] = []): void {
    if (this.#sentHead) return;
    this.#sentHead = true;
    this.exchange.sendHeaders([":status", String(status), ...JSON_TYPE, ...more]);
  }
}
