// What makes a header section malformed (RFC 9113, section 8.2 and 8.3), beyond
// the characters of its names and values, which the decoder looks at.

/** Instead of a length: the section is malformed. */
export const MALFORMED = -2;
/** Instead of a length: the section does not say. */
export const UNKNOWN_LENGTH = -1;

const CONNECTION_FIELDS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

const isPseudo = (name: string) => name.charCodeAt(0) === 58;
const isSpace = (code: number) => code === 32 || code === 9;

/** The length of the body that the regular fields announce. */
function regularFields(fields: readonly string[], from: number): number {
  let length = UNKNOWN_LENGTH;
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i]!;
    if (isPseudo(name) || CONNECTION_FIELDS.has(name)) return MALFORMED;
    const value = fields[i + 1]!;
    if (name === "te" && value !== "trailers") return MALFORMED;
    if (name !== "content-length") continue;
    if (!/^\d{1,15}$/.test(value) || (length >= 0 && length !== Number(value))) return MALFORMED;
    length = Number(value);
  }
  return length;
}

function validPath(path: string, method: string): boolean {
  return path.charCodeAt(0) === 47 || (path === "*" && method === "OPTIONS");
}

/** The length of a request's body, UNKNOWN_LENGTH or MALFORMED. */
export function checkRequest(fields: readonly string[]): number {
  let method: string | undefined;
  let scheme: string | undefined;
  let path: string | undefined;
  let authority: string | undefined;
  let i = 0;
  for (; i < fields.length && isPseudo(fields[i]!); i += 2) {
    const value = fields[i + 1]!;
    switch (fields[i]) {
      case ":method":
        if (method !== undefined) return MALFORMED;
        method = value;
        break;
      case ":scheme":
        if (scheme !== undefined) return MALFORMED;
        scheme = value;
        break;
      case ":path":
        if (path !== undefined) return MALFORMED;
        path = value;
        break;
      case ":authority":
        if (authority !== undefined) return MALFORMED;
        authority = value;
        break;
      default:
        return MALFORMED;
    }
  }
  if (!method) return MALFORMED;
  if (method === "CONNECT" ? scheme !== undefined || path !== undefined || !authority : !scheme || !path || !validPath(path, method)) {
    return MALFORMED;
  }
  // Answers are not looked at so: servers end a grpc-message in a space.
  for (let at = i + 1; at < fields.length; at += 2) {
    const value = fields[at]!;
    if (value.length > 0 && (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(value.length - 1)))) return MALFORMED;
  }
  return regularFields(fields, i);
}

/** The same for a response; 101 does not exist in HTTP/2 (section 8.6). */
export function checkResponse(fields: readonly string[]): number {
  if (fields[0] !== ":status" || !/^[1-5][0-9][0-9]$/.test(fields[1]!) || fields[1] === "101") return MALFORMED;
  return regularFields(fields, 2);
}

export function malformedTrailers(fields: readonly string[], end: boolean): boolean {
  return !end || regularFields(fields, 0) === MALFORMED;
}

/** Whether a header list has more bytes than `limit`, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (section 6.5.2). */
export function isLarger(fields: readonly string[], limit: number): boolean {
  if (limit === Number.POSITIVE_INFINITY) return false;
  let size = 16 * fields.length;
  for (const text of fields) size += text.length;
  return size > limit;
}
