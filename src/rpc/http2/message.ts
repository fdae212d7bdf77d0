// What makes a header section malformed (RFC 9113, section 8.2 and 8.3), beyond
// the characters of its names and values, which the decoder looks at.

const CONNECTION_FIELDS = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

const isPseudo = (name: string) => name.charCodeAt(0) === 58;

function badRegular(fields: readonly string[], from: number): boolean {
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i]!;
    if (isPseudo(name) || CONNECTION_FIELDS.has(name)) return true;
    if (name === "te" && fields[i + 1] !== "trailers") return true;
  }
  return false;
}

export function malformedRequest(fields: readonly string[]): boolean {
  let method: string | undefined;
  let scheme: string | undefined;
  let path: string | undefined;
  let authority: string | undefined;
  let i = 0;
  for (; i < fields.length && isPseudo(fields[i]!); i += 2) {
    const value = fields[i + 1]!;
    switch (fields[i]) {
      case ":method":
        if (method !== undefined) return true;
        method = value;
        break;
      case ":scheme":
        if (scheme !== undefined) return true;
        scheme = value;
        break;
      case ":path":
        if (path !== undefined) return true;
        path = value;
        break;
      case ":authority":
        if (authority !== undefined) return true;
        authority = value;
        break;
      default:
        return true;
    }
  }
  if (!method || (method === "CONNECT" ? scheme !== undefined || path !== undefined || !authority : !scheme || !path)) return true;
  return badRegular(fields, i);
}

export function malformedResponse(fields: readonly string[]): boolean {
  if (fields[0] !== ":status" || !/^[1-5][0-9][0-9]$/.test(fields[1]!)) return true;
  return badRegular(fields, 2);
}

export function malformedTrailers(fields: readonly string[], end: boolean): boolean {
  return !end || badRegular(fields, 0);
}
