// The answer to a request, over HTTP/1.1 and HTTP/2 alike.
import type { Http2ServerResponse } from "node:http2";

/** What a request gets instead of what it asked for. */
export class HttpError extends Error {
  override name = "HttpError";
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

export class Reply {
  readonly #response: Http2ServerResponse;
  readonly #abort = new AbortController();
  #begun = false;

  constructor(response: Http2ServerResponse) {
    this.#response = response;
    response.on("close", () => this.#abort.abort());
  }

  /** Aborts when the client is gone. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get begun(): boolean {
    return this.#begun;
  }

  begin(status: number, type: string): void {
    this.#begun = true;
    this.#response.writeHead(status, { "Content-Type": type });
    // A log that is followed may have nothing to say for long; the client must know that it is heard.
    (this.#response as { flushHeaders?: () => void }).flushHeaders?.();
  }

  /** Resolves when there is room for more. */
  async write(chunk: Uint8Array | string): Promise<void> {
    if (this.signal.aborted) return;
    if (this.#response.write(chunk as string)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#response.off("drain", done);
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      this.#response.on("drain", done);
      this.signal.addEventListener("abort", done, { once: true });
    });
  }

  end(chunk?: Uint8Array | string): void {
    if (chunk === undefined) this.#response.end();
    else this.#response.end(chunk as string);
  }

  text(status: number, body: string, type = "text/plain; charset=utf-8"): void {
    this.begin(status, type);
    this.end(body);
  }

  json(body: unknown): void {
    this.text(200, JSON.stringify(body), "application/json");
  }
}
