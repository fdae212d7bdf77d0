// etcd's --auth-token: "simple", or "jwt,sign-method=…,pub-key=…,priv-key=…,ttl=…".

export interface JwtOptions {
  /** The JWS algorithm. */
  method: string;
  /** Files: PEM, or the secret itself for HMAC, whose key is the private one. */
  publicKey?: string;
  privateKey?: string;
  /** Milliseconds. */
  ttl: number;
}

export type TokenOptions = { kind: "simple" } | ({ kind: "jwt" } & JwtOptions);

const METHODS = /^(RS|PS|ES|HS)(256|384|512)$|^EdDSA$/;
const DEFAULT_TTL = 300_000;
const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Throws an Error in etcd's words. */
export function parseTokenOptions(text: string): TokenOptions {
  const invalid = new Error("auth: invalid auth options");
  const [kind, ...pairs] = text.split(",");
  const values = new Map<string, string>();
  for (const pair of pairs) {
    const [name, value, more] = pair.split("=");
    if (!name || value === undefined || more !== undefined || values.has(name)) throw invalid;
    values.set(name, value);
  }
  if (kind === "simple") return { kind };
  if (kind !== "jwt") throw invalid;
  for (const name of values.keys()) if (!["sign-method", "pub-key", "priv-key", "ttl"].includes(name)) throw invalid;
  const method = values.get("sign-method") ?? "";
  if (!METHODS.test(method)) throw new Error("auth: invalid auth signature method");
  const [publicKey, privateKey] = [values.get("pub-key") || undefined, values.get("priv-key") || undefined];
  if (!privateKey && (!publicKey || method.startsWith("HS"))) throw new Error("auth: missing key data");
  return { kind, method, publicKey, privateKey, ttl: values.has("ttl") ? durationOf(values.get("ttl")!) : DEFAULT_TTL };
}

/** Go's notation: 5m, 1h30m. */
function durationOf(text: string): number {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) throw new Error(`time: invalid duration ${JSON.stringify(text)}`);
  let sum = 0;
  for (const [, n, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) sum += Number(n) * UNITS[unit!]!;
  return sum;
}
