// What a handler answers: a Response for Hono's sake, whose body stands beside
// it, so that bytes go to the socket without a stream in between.

import { internalError, type Status, StatusError } from "../../api/status.ts";

/** Takes the chunks of a streamed answer. */
export interface Sink {
  /** Resolves when more may be written; rejects nothing, see `signal`. */
  write(chunk: Uint8Array | string): Promise<void> | void;
  /** Sends the headers now, before there is anything to write. */
  flush(): void;
  /** Aborts when the client is gone, or wants no body. */
  readonly signal: AbortSignal;
  /** Calls back when the server is about to end, and answers without an end should; returns what undoes that. */
  whenEnding(callback: () => void): () => void;
}

export type Payload = string | Uint8Array | readonly Uint8Array[] | ((sink: Sink) => Promise<void>) | undefined;

/** Writes a body as it comes, and lets go of it when nobody takes it any more. */
export async function pass(body: ReadableStream<Uint8Array>, sink: Sink): Promise<void> {
  sink.flush();
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => undefined);
  if (sink.signal.aborted) return cancel();
  sink.signal.addEventListener("abort", cancel);
  for (let part = await reader.read(); !part.done && !sink.signal.aborted; part = await reader.read()) await sink.write(part.value);
}

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

/** What a Reply holds, for a caller in the same process: parsed JSON, or text. Throws the Status of a refusal. */
export function contentOf(reply: Response): unknown {
  if (!(reply instanceof Reply) || typeof reply.payload === "function") throw new TypeError("a streamed answer has no value");
  const { payload = "" } = reply;
  const body = typeof payload === "string" ? payload : Buffer.concat(payload instanceof Uint8Array ? [payload] : payload).toString();
  const isJson = String(reply.fields["content-type"] ?? "").startsWith("application/json");
  const value = isJson ? (JSON.parse(body) as unknown) : body;
  if (reply.code < 400) return value;
  if (isJson) throw new StatusError(value as Status);
  throw internalError(body);
}
