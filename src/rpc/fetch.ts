import { logger } from "../platform/log.ts";
import type { Exchange } from "./exchange.ts";
import { ErrorCode } from "./http2/errors.ts";
import type { StreamListener } from "./http2/stream.ts";
import { toHeaders } from "./metadata.ts";
import { fieldOf } from "./web/base.ts";

const log = logger("rpc");

/** Answers requests that are no calls; their bodies are not read. */
export type Fetch = (request: Request) => Response | Promise<Response>;

export function serveFetch(exchange: Exchange, fields: readonly string[], fetch: Fetch): StreamListener {
  let gone = false;
  let sentHead = false;
  let drained: (() => void) | undefined;
  const answer = async () => {
    const url = `${fieldOf(fields, ":scheme")}://${fieldOf(fields, ":authority") || "localhost"}${fieldOf(fields, ":path")}`;
    const response = await fetch(new Request(url, { method: fieldOf(fields, ":method"), headers: toHeaders(fields) }));
    const head = [":status", String(response.status)];
    for (const [name, value] of response.headers) if (name !== "connection" && name !== "transfer-encoding") head.push(name, value);
    sentHead = true;
    exchange.sendHeaders(head, response.body === null);
    for await (const chunk of response.body ?? []) {
      if (gone) return;
      if (!exchange.sendData(chunk)) await new Promise<void>((resolve) => (drained = resolve));
    }
    if (response.body) exchange.end();
  };
  const failed = (error: unknown) => {
    log.error("A request failed", error, { path: fieldOf(fields, ":path") });
    if (sentHead) exchange.reset(ErrorCode.INTERNAL_ERROR);
    else exchange.sendHeaders([":status", "500"], true);
  };
  answer().catch(failed);
  return {
    headers() {},
    data() {},
    drain: () => drained?.(),
    failed() {
      gone = true;
      drained?.();
    },
  };
}
