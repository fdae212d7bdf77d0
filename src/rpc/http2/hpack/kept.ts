// Field lists that come again as the same array, and never change: what follows
// from one may be kept with it. A set and no Object.freeze: frozen arrays are slow.
const kept = new WeakSet<readonly string[]>();

export function keep<T extends readonly string[]>(fields: T): T {
  kept.add(fields);
  return fields;
}

export const isKept = (fields: readonly string[]): boolean => kept.has(fields);
