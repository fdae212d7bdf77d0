// What `etcdutl snapshot status` tells of a file.
import type { BoltReader } from "../bolt/reader.ts";
import { crc32c } from "../wal/crc32c.ts";
import { decodeRevision } from "./record.ts";

export interface SnapshotStatus {
  /** CRC-32C over the names, keys and values of all buckets. */
  hash: number;
  revision: number;
  /** Pairs of all buckets. */
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
  for (const bucket of db.buckets()) {
    add(new TextEncoder().encode(bucket));
    for (const { key, value } of db.pairs(bucket)) {
      add(key);
      add(value);
      status.totalKey++;
      if (bucket === "key") status.revision = decodeRevision(key)?.main ?? status.revision;
      if (bucket === "meta" && Buffer.from(key).toString() === "storageVersion") status.version = Buffer.from(value).toString();
    }
  }
  return status;
}
