// What browsers ask before a page of another origin may call (Fetch, section 3.2).
import type { Exchange } from "../exchange.ts";
import { fieldOf } from "./base.ts";

/** Where protocols put what their clients read, beyond the fields of a particular answer. */
const EXPOSED = ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "connect-content-encoding", "content-encoding"];
/** Seconds that a browser keeps an answer to OPTIONS: Chromium's most. */
const MAX_AGE = "7200";

export class Cors {
  readonly #any: boolean;
  readonly #origins: ReadonlySet<string>;

  /** @param origins such as "https://example.com"; "*" for every one */
  constructor(origins: readonly string[]) {
    this.#any = origins.includes("*");
    this.#origins = new Set(origins);
  }

  /** The fields of every answer to a request of an origin that may call. */
  #allow(fields: readonly string[]): string[] | undefined {
    const origin = fieldOf(fields, "origin");
    if (origin === undefined || !(this.#any || this.#origins.has(origin))) return undefined;
    return ["access-control-allow-origin", this.#any ? "*" : origin, "vary", "origin"];
  }

  /** The head of the answer to an OPTIONS request, where it is a preflight of an origin that may call. */
  preflight(fields: readonly string[]): string[] | undefined {
    const allow = this.#allow(fields);
    if (!allow || fieldOf(fields, "access-control-request-method") === undefined) return undefined;
    const head = [":status", "204", ...allow, "access-control-allow-methods", "GET, POST", "access-control-max-age", MAX_AGE];
    const asked = fieldOf(fields, "access-control-request-headers");
    if (asked !== undefined) head.push("access-control-allow-headers", asked);
    return head;
  }

  /** The exchange, whose answer the page may read. */
  wrap(exchange: Exchange, fields: readonly string[]): Exchange {
    const allow = this.#allow(fields);
    return allow ? new AllowedExchange(exchange, allow) : exchange;
  }
}

class AllowedExchange implements Exchange {
  readonly #exchange: Exchange;
  readonly #allow: readonly string[];

  constructor(exchange: Exchange, allow: readonly string[]) {
    this.#exchange = exchange;
    this.#allow = allow;
  }

  sendHeaders(fields: readonly string[], end?: boolean): void {
    if (fields[0] !== ":status") return this.#exchange.sendHeaders(fields, end);
    const names = fields.filter((name, i) => i % 2 === 0 && !name.startsWith(":"));
    const exposed = [...new Set([...EXPOSED, ...names])].join(", ");
    this.#exchange.sendHeaders([...fields, ...this.#allow, "access-control-expose-headers", exposed], end);
  }

  sendData(data: Uint8Array, end?: boolean, prefix?: Uint8Array): boolean {
    return this.#exchange.sendData(data, end, prefix);
  }

  end(): void {
    this.#exchange.end();
  }

  consume(bytes: number): void {
    this.#exchange.consume(bytes);
  }

  reset(code: Parameters<Exchange["reset"]>[0]): void {
    this.#exchange.reset(code);
  }
}
