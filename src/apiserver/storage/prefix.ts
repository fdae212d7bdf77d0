// All pairs of the store below a prefix.
import type { KeyValue, StoreClient } from "../../client/etcd.ts";

/** Pairs in one answer; bounds the message, not what is read. */
const pageSize = 5000;

/** The first key after all that begin with a prefix. */
export function prefixEnd(prefix: string): Uint8Array {
  const bytes = Buffer.from(prefix);
  bytes[bytes.length - 1]! += 1;
  return bytes;
}

/** Visits each pair as of one revision, in the order of their keys; resolves with that revision. */
export async function visitAll(client: StoreClient, prefix: string, visit: (kv: KeyValue) => void): Promise<number> {
  const end = prefixEnd(prefix);
  let key: Uint8Array = Buffer.from(prefix);
  let revision = 0;
  for (;;) {
    const page = await client.range(key, { end, limit: pageSize, revision });
    revision ||= page.revision;
    for (const kv of page.kvs) visit(kv);
    const last = page.kvs.at(-1);
    if (!page.more || !last) return revision;
    key = Buffer.concat([last.key, Buffer.of(0)]);
  }
}
