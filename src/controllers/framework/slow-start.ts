/**
 * Calls `fn` `count` times in batches of 1, 2, 4, …, each batch at once, and
 * stops after the first batch with a failure: a template that the apiserver
 * refuses costs one request and not a thousand.
 * @returns How many succeeded, and the first failure.
 */
export async function slowStart(count: number, fn: (i: number) => Promise<void>): Promise<{ successes: number; error?: unknown }> {
  let done = 0;
  let successes = 0;
  for (let size = Math.min(count, 1); size > 0; size = Math.min(2 * size, count - done)) {
    const batch = Array.from({ length: size }, (_, i) => fn(done + i));
    let failure: { error: unknown } | undefined;
    for (const result of await Promise.allSettled(batch)) {
      if (result.status === "fulfilled") successes++;
      else failure ??= { error: result.reason };
    }
    if (failure) return { successes, error: failure.error };
    done += size;
  }
  return { successes };
}
