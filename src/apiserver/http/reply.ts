// What a handler answers: a Response for Hono's sake, whose body stands beside
// it, so that bytes go to the socket without a stream in between.

/** Takes the chunks of a streamed answer. */
export interface Sink {
  /** Resolves when more may be written; rejects nothing, see `signal`. */
  write(chunk: Uint8Array | string): Promise<void> | void;
  /** Sends the headers now, before there is anything to write. */
  flush(): void;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
}

export type Payload = string | Uint8Array | readonly Uint8Array[] | ((sink: Sink) => Promise<void>) | undefined;

export class Reply extends Response {
  readonly code: number;
  /** Names in lower case. */
  readonly fields: Record<string, string | string[]>;
  readonly payload: Payload;

  constructor(code: number, fields: Record<string, string | string[]>, payload?: Payload) {
    super(null, { status: code === 101 ? 200 : code });
    this.code = code;
    this.fields = fields;
    this.payload = payload;
  }
}

export const text = (code: number, body: string): Reply =>
  new Reply(code, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" }, body);
export const json = (code: number, value: unknown): Reply => new Reply(code, { "content-type": "application/json" }, JSON.stringify(value));
