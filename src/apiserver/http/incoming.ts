// A request as handlers see it, whichever version of HTTP brought it.
import type { IncomingHttpHeaders } from "node:http";
import type { Exchange } from "../../rpc/exchange.ts";
import type { CertificateSubject, Peer } from "../../rpc/http2/server.ts";
import { BodyReader } from "./body-reader.ts";

/** What a handler gets of a request; enough of the Fetch API's Request for Hono's router. */
export class Incoming {
  readonly method: string;
  /** Path and query as they came. */
  readonly target: string;
  /** Names and values in turn; names in lower case, those with a colon before them first. */
  readonly fields: readonly string[];
  readonly rest: BodyReader;
  /** The head of the answer has been sent. */
  answered = false;
  /** It may take as long as it likes: a watch, a log, a proxy. */
  unhurried = false;
  /** Called when its answer has gone to the client whole, or can't any more, with the bytes of its body. */
  onDone: ((bytes: number) => void) | undefined;
  /** Bytes of the answer's body so far. */
  sent = 0;
  readonly #peer: Peer | undefined;
  readonly #exchange: Exchange | undefined;

  /** @param complete there is no body */
  constructor(fields: readonly string[], complete: boolean, peer?: Peer, exchange?: Exchange) {
    this.fields = fields;
    this.rest = new BodyReader(complete, exchange);
    this.#peer = peer;
    this.#exchange = exchange;
    this.method = this.header(":method")!;
    // CONNECT has none.
    this.target = this.header(":path") ?? "";
  }

  /** A GET that came over no socket. */
  static local(target: string): Incoming {
    return new Incoming([":method", "GET", ":path", target], true);
  }

  /** "https://host" and the request's target. */
  get url(): string {
    return `https://apiserver${this.target}`;
  }

  /** The verified client certificate's subject. */
  get subject(): CertificateSubject | undefined {
    return this.#peer?.subject;
  }

  /** What is wrong with the certificate that the client has shown. */
  get certificateError(): string | undefined {
    return this.#peer?.certificateError;
  }

  /** "host:port" of the client; empty where there is none. */
  get remote(): string {
    return this.#peer?.address ?? "";
  }

  /** A header by its lower-case name; the first of several. */
  header(name: string): string | undefined {
    const { fields } = this;
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
    return undefined;
  }

  /** All values of a header that may stand several times. */
  headerValues(name: string): string[] {
    return this.fields.filter((_, i) => i % 2 === 1 && this.fields[i - 1] === name);
  }

  /** Without those of HTTP/2's own. */
  get headers(): Headers {
    const headers = new Headers();
    this.#each((name, value) => {
      // A browser may send its cookies one by one (RFC 9113, section 8.2.3).
      const cookies = name === "cookie" ? headers.get(name) : null;
      if (cookies) headers.set(name, `${cookies}; ${value}`);
      else headers.append(name, value);
    });
    return headers;
  }

  /** As node:http has it, for what answers upgrades. */
  get message(): { method: string; url: string; headers: IncomingHttpHeaders } {
    const headers: Record<string, string> = {};
    this.#each((name, value) => {
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    });
    return { method: this.method, url: this.target, headers };
  }

  #each(take: (name: string, value: string) => void): void {
    const { fields } = this;
    for (let i = 0; i < fields.length; i += 2) if (fields[i]!.charCodeAt(0) !== 58) take(fields[i]!, fields[i + 1]!);
  }

  /** Aborts when the client goes away before the answer is complete. */
  get signal(): AbortSignal {
    return this.rest.signal;
  }

  /** Says that the body is wanted, where the client waits to hear so. */
  #proceed(): void {
    // HTTP/1.1's own layer does this by itself.
    if (this.header("expect") === "100-continue" && !this.rest.complete) this.#exchange?.sendHeaders([":status", "100"]);
  }

  /** Bytes of the body, where the client tells. */
  get length(): number | undefined {
    const text = this.header("content-length");
    return text === undefined ? undefined : Number(text);
  }

  /** The body as it comes; in place of body(). */
  bodyStream(): ReadableStream<Uint8Array> {
    this.#proceed();
    return this.rest.stream();
  }

  /**
   * The body, once. Undefined where it is longer than `limit` bytes.
   * @param timeout milliseconds until its end; those that upstream gives a request
   * @throws {BodyError}
   */
  body(limit: number, timeout = 60_000): Promise<Uint8Array | undefined> {
    this.#proceed();
    return this.rest.read(limit, this.length ?? 0, timeout);
  }
}
