import type { StoreClient } from "../../client/etcd.ts";

/**
 * Reads the key that upstream's health check reads, which takes a quorum.
 * @param timeout milliseconds
 * @returns what is wrong, or undefined
 */
export async function checkStore(client: StoreClient, prefix: string, timeout: number): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("error getting data from etcd: context deadline exceeded"), timeout);
  });
  const read = client.range(Buffer.from(`${prefix}health`)).then(
    () => undefined,
    (error: Error) => `error getting data from etcd: ${error.message}`,
  );
  try {
    return await Promise.race([read, late]);
  } finally {
    clearTimeout(timer);
  }
}
