// gRPC-Web (grpc/grpc, doc/PROTOCOL-WEB.md): gRPC whose trailers are a last
// frame of the body, as a browser can't read HTTP trailers.
import { binaryCodec, type CallPeer } from "../call.ts";
import type { Exchange } from "../exchange.ts";
import { decompress, listsGzip } from "../grpc/compression.ts";
import { Deframer, prefix } from "../grpc/framing.ts";
import { parseTimeout, statusFields } from "../grpc/protocol.ts";
import { appendHeaders } from "../metadata.ts";
import type { RawMessage } from "../raw.ts";
import type { BoundMethod } from "../service.ts";
import { Code, RpcError } from "../types.ts";
import { fieldOf, WebCall, type WebOptions } from "./base.ts";

const TRAILERS = 0x80;

export class GrpcWebCall extends WebCall {
  readonly #contentType: string;
  /** Both bodies are base64. */
  readonly #text: boolean;
  readonly #deframer: Deframer;
  /** Of the text, less than the four characters that three bytes take. */
  #rest = "";
  #sentHead = false;
  readonly #takesGzip: boolean;

  constructor(exchange: Exchange, fields: readonly string[], bound: BoundMethod, peer: CallPeer, options: WebOptions) {
    super(exchange, fields, bound, binaryCodec, peer, options);
    this.#contentType = fieldOf(fields, "content-type")!;
    this.#text = this.#contentType.startsWith("application/grpc-web-text");
    this.#takesGzip = options.compressFrom < Number.POSITIVE_INFINITY && listsGzip(fieldOf(fields, "grpc-accept-encoding"));
    const encoding = fieldOf(fields, "grpc-encoding");
    const frame = (flags: number, data: Uint8Array, cost: number) =>
      this.call.message(flags & 1 ? decompress(data, encoding, options.maxReceiveSize) : data, this.#text ? 0 : cost);
    this.#deframer = new Deframer(options.maxReceiveSize, { frame });
    const timeout = fieldOf(fields, "grpc-timeout");
    this.timeout = timeout === undefined ? undefined : parseTimeout(timeout);
  }

  readonly timeout: number | undefined;

  protected body(chunk: Uint8Array): void {
    if (!this.#text) {
      const loose = this.#deframer.push(chunk);
      if (loose > 0) this.exchange.consume(loose);
      return;
    }
    this.exchange.consume(chunk.length);
    const text = this.#rest + Buffer.from(chunk).toString("latin1");
    const whole = text.length - (text.length % 4);
    this.#rest = text.slice(whole);
    // Each flush of the client may end with padding of its own.
    for (const part of text.slice(0, whole).match(/[^=]*={0,2}/g) ?? []) {
      if (part) this.#deframer.push(new Uint8Array(Buffer.from(part, "base64")));
    }
  }

  protected bodyEnd(): void {
    if (this.#deframer.partial || this.#rest) this.call.finish(new RpcError(Code.Internal, "the request ended within a message"));
    else this.call.requestsEnd();
  }

  send(message: RawMessage): boolean {
    this.#head();
    const { flags, data } = this.frameOf(message, this.#takesGzip);
    return this.#frame(flags, data, false);
  }

  finish(error: RpcError | undefined): void {
    this.#head();
    const fields = error ? statusFields(error) : ["grpc-status", "0"];
    if (error) appendHeaders(fields, error.metadata);
    if (this.call.trailersSet) appendHeaders(fields, this.call.trailersSet);
    let text = "";
    for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
    this.#frame(TRAILERS, new TextEncoder().encode(text), true);
  }

  #head(): void {
    if (this.#sentHead) return;
    this.#sentHead = true;
    const fields = [":status", "200", "content-type", this.#contentType];
    if (this.#takesGzip) fields.push("grpc-encoding", "gzip");
    if (this.call.headersSet) appendHeaders(fields, this.call.headersSet);
    this.exchange.sendHeaders(fields);
  }

  #frame(flags: number, data: Uint8Array, end: boolean): boolean {
    const head = prefix(data.length, flags);
    if (!this.#text) return this.exchange.sendData(data, end, head);
    return this.exchange.sendData(new TextEncoder().encode(Buffer.concat([head, data]).toString("base64")), end);
  }
}
