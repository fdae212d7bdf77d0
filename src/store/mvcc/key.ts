// Keys inside the store are strings with one code unit a byte: they compare
// as bytes do, and JavaScriptCore keeps them at one byte a character.

type Latin1 = {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  latin1Write(this: Uint8Array, text: string, offset: number, length: number): number;
};
const { latin1Slice, latin1Write } = Buffer.prototype as unknown as Latin1;

/** A key's bytes as a string that sorts the same. */
export const keyText = (key: Uint8Array): string => latin1Slice.call(key, 0, key.length);

/** The same of a key that stands within other bytes. */
export const keyTextAt = (bytes: Uint8Array, start: number, end: number): string => latin1Slice.call(bytes, start, end);

/** Writes a key's bytes where `at` says. */
export function writeKey(text: string, into: Uint8Array, at: number): void {
  // A call into the runtime costs more than a few stores.
  if (text.length > 48) latin1Write.call(into, text, at, text.length);
  else for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
}

/** The bytes of a key. */
export function keyBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  writeKey(text, bytes, 0);
  return bytes;
}

/** Keys from `start` on, up to but not including `end`; `undefined` has no end. */
export interface Span {
  readonly start: string;
  readonly end: string | undefined;
}

/**
 * A range as the API writes it: without `end` (or with an empty one) it is
 * the one key, and with the end "\0" all keys from `key` on.
 */
export function spanOf(key: Uint8Array, end: Uint8Array | undefined): Span & { single: boolean } {
  const start = keyText(key);
  if (end === undefined || end.length === 0) return { start, end: `${start}\0`, single: true };
  if (end.length === 1 && end[0] === 0) return { start, end: undefined, single: false };
  return { start, end: keyText(end), single: false };
}

/** The one key. */
export const keySpan = (key: string): Span => ({ start: key, end: `${key}\0` });

export const inSpan = (key: string, span: Span) => key >= span.start && (span.end === undefined || key < span.end);

/** Compares bytes as memcmp does: negative, zero or positive. */
export const compareBytes = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);
