// Keys inside the store are strings with one code unit a byte: they compare
// as bytes do, and JavaScriptCore keeps them at one byte a character.

type Latin1 = { latin1Slice(this: Uint8Array, start: number, end: number): string };
const { latin1Slice } = Buffer.prototype as unknown as Latin1;

/** A key's bytes as a string that sorts the same. */
export const keyText = (key: Uint8Array): string => latin1Slice.call(key, 0, key.length);

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
