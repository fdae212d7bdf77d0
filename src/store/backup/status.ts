// What `etcdutl snapshot status` tells of a file.
import type { BoltReader } from "../bolt/reader.ts";
import { crc32c } from "../wal/crc32c.ts";
import { decodeKeyValue, decodeRevision } from "./record.ts";

export interface SnapshotStatus {
  /** CRC-32C over the names, keys and values of all buckets. */
  hash: number;
  revision: number;
  /** Keys that exist, as etcd counts them since 3.6; before, it counted the pairs of all buckets. */
  totalKey: number;
  /** Bytes of the backend. */
  totalSize: number;
  /** The storage version, empty before etcd 3.6. */
  version: string;
}

/** Reads the whole file. Throws CorruptFile. */
export function snapshotStatus(db: BoltReader): SnapshotStatus {
  const status = { hash: 0, revision: 0, totalKey: 0, totalSize: db.meta.pages * db.meta.pageSize, version: "" };
  const add = (bytes: Uint8Array) => {
    status.hash = crc32c(bytes, 0, bytes.length, status.hash);
  };
  const live = new Set<string>();
  for (const bucket of db.buckets()) {
    add(new TextEncoder().encode(bucket));
    for (const { key, value } of db.pairs(bucket)) {
      add(key);
      add(value);
      if (bucket === "key" && value.length > 0) {
        const revision = decodeRevision(key);
        if (!revision) throw new Error("the bucket of pairs has a key that is no revision");
        status.revision = revision.main;
        const { text, version } = decodeKeyValue(revision, value);
        if (version === 0) live.delete(text);
        else live.add(text);
      }
      if (bucket === "meta" && Buffer.from(key).toString() === "storageVersion") status.version = Buffer.from(value).toString();
    }
  }
  status.totalKey = live.size;
  return status;
}
