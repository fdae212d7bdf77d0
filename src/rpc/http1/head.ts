// The head of a request (RFC 9112, sections 2 to 6), from its text to what it
// means. What two readers could understand differently is refused: that is how
// requests are smuggled.
import { Refusal } from "./refusal.ts";

export interface Head {
  /** As HTTP/2 has them: :method, :scheme, :path, :authority, then names in lower case and values in turn. */
  readonly fields: string[];
  readonly method: string;
  /** 0 of HTTP/1.0, which knows no chunks. */
  readonly minor: 0 | 1;
  /** The connection may be used again. */
  readonly keep: boolean;
  /** Bytes of the body. */
  readonly length: number | "chunked";
  /** The client waits for 100 (Continue) before it sends the body (RFC 9110, section 10.1.1). */
  readonly expects: boolean;
  /** What the connection is to become, in lower case. */
  readonly upgrade: string | undefined;
}

const MAX_FIELDS = 1000;
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/(\d)\.(\d)$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Besides text, a value may hold tabs. */
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const HOST = /^[\w.~!$&'()*+,;=%:[\]-]*$/;
const ABSOLUTE = /^https?:\/\/([^/?#]+)(.*)$/i;

const tokens = (value: string) =>
  value
    .toLowerCase()
    .split(",")
    .map((t) => t.trim());

/**
 * @param text Latin-1, without the empty line at its end
 * @throws {Refusal} for a head that is malformed, or can't be served
 */
export function readHead(text: string, scheme: string): Head {
  let end = lineEnd(text, 0);
  const [, method, target, major, minorDigit] = REQUEST_LINE.exec(text.slice(0, end)) ?? [];
  if (!method || !target) throw new Refusal(400, "malformed request line");
  if (major !== "1" || (minorDigit !== "0" && minorDigit !== "1")) throw new Refusal(505, "unsupported protocol version");
  const minor = minorDigit === "1" ? 1 : 0;
  const fields = [":method", method, ":scheme", scheme, ":path", "", ":authority", ""];
  let close = minor === 0;
  let wantsUpgrade = false;
  let [chunked, expects] = [false, false];
  let upgrade: string | undefined;
  let length: number | undefined;
  let host: string | undefined;
  for (let at = end + 2, count = 0; at < text.length; at = end + 2) {
    if (++count > MAX_FIELDS) throw new Refusal(431, "too many fields");
    end = lineEnd(text, at);
    const colon = text.indexOf(":", at);
    const rawName = colon < 0 || colon > end ? "" : text.slice(at, colon);
    const value = trimmed(text, colon + 1, end);
    if (!NAME.test(rawName) || NO_VALUE.test(value)) throw new Refusal(400, "malformed field");
    const name = rawName.toLowerCase();
    switch (name) {
      case "host":
        if (host !== undefined || !HOST.test(value)) throw new Refusal(400, "malformed Host field");
        host = value;
        break;
      case "connection":
        for (const token of tokens(value)) {
          if (token === "close") close = true;
          else if (token === "keep-alive" && minor === 0) close = false;
          else if (token === "upgrade") wantsUpgrade = true;
        }
        break;
      case "transfer-encoding":
        if (chunked || minor === 0) throw new Refusal(400, "malformed transfer-encoding");
        if (value.toLowerCase() !== "chunked") throw new Refusal(501, "unknown transfer coding");
        chunked = true;
        break;
      case "content-length":
        if (!/^\d{1,15}$/.test(value) || length !== undefined) throw new Refusal(400, "malformed content-length");
        length = Number(value);
        fields.push(name, value);
        break;
      case "expect":
        if (value.toLowerCase() !== "100-continue") throw new Refusal(417, "unknown expectation");
        expects = minor === 1;
        break;
      case "upgrade":
        upgrade = value.toLowerCase();
        break;
      case "keep-alive":
      case "proxy-connection":
      case "te":
        break;
      default:
        fields.push(name, value);
    }
  }
  if (chunked && length !== undefined) throw new Refusal(400, "content-length and transfer-encoding");
  if (minor === 1 && host === undefined) throw new Refusal(400, "no Host field");
  const { path, authority } = targetOf(method, target, host ?? "");
  fields[5] = path;
  fields[7] = authority;
  return {
    fields,
    method,
    minor,
    keep: !close,
    length: chunked ? "chunked" : (length ?? 0),
    expects: expects && (chunked || (length ?? 0) > 0),
    upgrade: wantsUpgrade && minor === 1 ? upgrade : undefined,
  };
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\r\n", from);
  return end < 0 ? text.length : end;
}

/** Without spaces and tabs around it. */
function trimmed(text: string, from: number, to: number): string {
  while (from < to && isSpace(text.charCodeAt(from))) from++;
  while (to > from && isSpace(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

const isSpace = (code: number) => code === 32 || code === 9;

/** The forms of a target (RFC 9112, section 3.2). */
function targetOf(method: string, target: string, host: string): { path: string; authority: string } {
  if (target.charCodeAt(0) === 47 || (target === "*" && method === "OPTIONS")) return { path: target, authority: host };
  const [, authority, rest = ""] = ABSOLUTE.exec(target) ?? [];
  if (authority === undefined || !HOST.test(authority)) throw new Refusal(400, "malformed target");
  return { path: rest.startsWith("/") ? rest : `/${rest}`, authority };
}
