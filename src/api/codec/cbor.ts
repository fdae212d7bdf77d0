// application/cbor as Kubernetes uses it (KEP-4222): one self-described item a
// body, strings as text or bytes. Import lazily: few clients speak it.
import { Decoder, Encoder, Tag } from "../../platform/cbor.ts";
import { setKey } from "../equal.ts";

/** Bytes that are no CBOR, or hold what JSON can't say. */
export class CborError extends Error {
  override name = "CborError";
}

const selfDescribed = Uint8Array.of(0xd9, 0xd9, 0xf7);
const selfDescribedTag = 55799;
/** Byte strings that stand for text in base64, base64url or base16 (RFC 8949, 3.4.5.2). */
const laterEncodings: Record<number, BufferEncoding> = { 21: "base64url", 22: "base64", 23: "hex" };

const decoder = new Decoder({ mapsAsObjects: false, useRecords: false, int64AsNumber: true, tagUint8Array: false } as never);
const encoder = new Encoder({ mapsAsObjects: true, useRecords: false, tagUint8Array: false, variableMapSize: true } as never);

const text = (bytes: Uint8Array, encoding: BufferEncoding = "utf8") =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(encoding);

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || value === null) return value === undefined ? null : value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array) return text(value);
  if (value instanceof Date) return `${value.toISOString().slice(0, -5)}Z`;
  if (value instanceof Tag) {
    if (value.tag === selfDescribedTag) return plain(value.value);
    const encoding = laterEncodings[value.tag];
    if (encoding !== undefined && value.value instanceof Uint8Array) return text(value.value, encoding);
    throw new CborError(`unexpected CBOR tag ${value.tag}`);
  }
  if (!(value instanceof Map)) throw new CborError("unexpected CBOR value");
  const out: Record<string, unknown> = {};
  for (const [key, v] of value) {
    const name = key instanceof Uint8Array ? text(key) : key;
    if (typeof name !== "string") throw new CborError("the keys of a CBOR map have to be strings");
    setKey(out, name, plain(v));
  }
  return out;
}

/** The JSON value of a body. Throws a CborError. */
export function decodeCbor(bytes: Uint8Array): unknown {
  let value: unknown;
  try {
    value = decoder.decode(bytes);
  } catch (error) {
    throw new CborError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  return plain(value);
}

/** The JSON values of a sequence (application/cbor-seq), as a watch sends them. Throws a CborError. */
export function decodeCborSequence(bytes: Uint8Array): unknown[] {
  try {
    return ((decoder.decodeMultiple(bytes) ?? []) as unknown[]).map(plain);
  } catch (error) {
    if (error instanceof CborError) throw error;
    throw new CborError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** A JSON value as one self-described item. */
export function encodeCbor(value: unknown): Uint8Array<ArrayBuffer> {
  const body = encoder.encode(value);
  const out = new Uint8Array(selfDescribed.length + body.length);
  out.set(selfDescribed);
  out.set(body, selfDescribed.length);
  return out;
}
