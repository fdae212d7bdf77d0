// A snapshot's file: a backend as bbolt wrote it, and a SHA-256 of it in the end.
import { closeSync, fstatSync, openSync } from "node:fs";
import { BoltReader } from "../bolt/reader.ts";
import { readAt } from "../wal/files.ts";

const HASH_BYTES = 32;
/** bbolt's pages are a multiple of this; what is over is the hash. */
const SECTOR = 512;
const PIECE = 1024 * 1024;

export interface SnapshotFile extends Disposable {
  readonly db: BoltReader;
  /** Throws an Error in etcd's words if the file has no hash, or another than it should have. */
  checkHash(): void;
}

/** @throws CorruptFile, or what the system says of the file */
export function openSnapshot(path: string): SnapshotFile {
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    const hashed = size % SECTOR === HASH_BYTES;
    const source = { name: path, size: hashed ? size - HASH_BYTES : size, read: (at: number, length: number) => readAt(fd, at, length) };
    return {
      db: new BoltReader(source),
      checkHash() {
        if (!hashed) throw new Error(`${path}: snapshot missing hash but --skip-hash-check=false`);
        const hash = new Bun.CryptoHasher("sha256");
        for (let at = 0; at < source.size; at += PIECE) hash.update(readAt(fd, at, Math.min(PIECE, source.size - at)));
        const [found, expected] = [hash.digest("hex"), Buffer.from(readAt(fd, source.size, HASH_BYTES)).toString("hex")];
        if (found !== expected) throw new Error(`${path}: expected sha256 ${expected}, got ${found}`);
      },
      [Symbol.dispose]: () => closeSync(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
