// Metadata as Headers. Values of "-bin" fields stand in it in base64, as on the
// wire; encodeBinary and decodeBinary turn bytes into that and back.

import { isKept } from "./http2/hpack/kept.ts";

/** The fields of a header section, names and values in turn, without the pseudo-header fields. */
export function toHeaders(fields: readonly string[]): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) if (fields[i]!.charCodeAt(0) !== 58) headers.append(fields[i]!, fields[i + 1]!);
  return headers;
}

/**
 * What `read` makes of a header section, remembered for lists that are kept:
 * those that a client sends again and again.
 */
export function remembering<T>(read: (fields: readonly string[]) => T): (fields: readonly string[]) => T {
  const known = new WeakMap<readonly string[], T>();
  return (fields) => {
    const before = known.get(fields);
    if (before !== undefined) return before;
    const made = read(fields);
    if (isKept(fields)) known.set(fields, made);
    return made;
  };
}

/** Fields that belong to the protocol and that metadata can't set. */
const RESERVED = new Set(["connection", "content-length", "content-type", "host", "te", "transfer-encoding", "user-agent"]);

/** Appends metadata to the fields of a header section. */
export function appendHeaders(fields: string[], headers: Headers | Record<string, string>): void {
  for (const [name, value] of headers instanceof Headers ? headers : Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (!RESERVED.has(lower) && !lower.startsWith("grpc-") && !lower.startsWith(":")) fields.push(lower, value);
  }
}

export const encodeBinary = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Several values of one field come joined by commas; this takes one, padded or not. */
export const decodeBinary = (value: string): Uint8Array => new Uint8Array(Buffer.from(value, "base64"));
