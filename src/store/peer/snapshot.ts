// A snapshot's way to a member that is too far behind: the file, in chunks, and
// what it stands for in front. The receiver writes it aside; it is used only
// once it is there in full and Raft asks for it.
import { closeSync, openSync, readSync, renameSync, rmSync, writeSync } from "node:fs";
import type { Histogram } from "../../platform/metrics.ts";
import { type Raft, type SnapshotChunk, SnapshotMetaSchema } from "../../rpc/gen/kubun/store/raft_pb.ts";
import { fromBinary, toBinary } from "../../rpc/protobuf.ts";
import { type Client, Code, RpcError } from "../../rpc/types.ts";
import type { InstallSnapshot } from "../raft/messages.ts";
import type { SnapshotMeta } from "../raft/types.ts";
import { decodeMeta, encodeMeta } from "../raft/wire.ts";
import { partPath, receivedPath } from "../snapshot/file.ts";
import { crc32c } from "../wal/crc32c.ts";
import { dataSync } from "../wal/files.ts";
import type { Identity } from "../wal/format.ts";

const CHUNK = 256 * 1024;

export interface SnapshotSource {
  /** The newest snapshot's file, made if it is too old. */
  snapshot(): Promise<{ path: string; meta: SnapshotMeta }>;
  snapshotFailed(to: bigint, error: unknown): void;
}

/** Resolves when the other member has it on its disk. Rejects with RpcError. */
export async function sendSnapshot(
  raft: Client<typeof Raft>,
  source: SnapshotSource,
  { clusterId, memberId, to, term }: Identity & { to: bigint; term: number },
): Promise<void> {
  const { path, meta } = await source.snapshot();
  // Open, it stays readable when a newer one takes its place.
  const fd = openSync(path, "r");
  async function* chunks() {
    const head = { clusterId, from: memberId, to, term: BigInt(term), meta: fromBinary(SnapshotMetaSchema, encodeMeta(meta)) };
    yield { part: { case: "head" as const, value: head } };
    let bytes = 0;
    let crc: number | undefined;
    for (;;) {
      const chunk = new Uint8Array(CHUNK);
      const n = readSync(fd, chunk, 0, CHUNK, bytes);
      if (n === 0) break;
      bytes += n;
      crc = crc32c(chunk, 0, n, crc);
      yield { part: { case: "data" as const, value: chunk.subarray(0, n) } };
    }
    yield { part: { case: "end" as const, value: { bytes: BigInt(bytes), crc32c: crc ?? 0 } } };
  }
  try {
    await raft.installSnapshot(chunks());
  } finally {
    closeSync(fd);
  }
}

/** Receives one into `dir`; returns the message to step. Throws RpcError for what isn't whole. */
export async function receiveSnapshot(
  dir: string,
  own: Identity,
  chunks: AsyncIterable<SnapshotChunk>,
  synced: Histogram,
): Promise<InstallSnapshot> {
  const temporary = partPath(dir);
  const fd = openSync(temporary, "w", 0o600);
  let message: InstallSnapshot | undefined;
  let bytes = 0;
  let crc: number | undefined;
  let whole = false;
  try {
    for await (const { part } of chunks) {
      if (part.case === "head") {
        const { clusterId, from, to, term, meta } = part.value;
        if (!meta) throw bad("its head says not what it is");
        if (clusterId !== own.clusterId || to !== own.memberId) throw bad("it is for another member");
        message = { type: "snapshot", from, to, term: Number(term), meta: decodeMeta(toBinary(SnapshotMetaSchema, meta)) };
      } else if (part.case === "data") {
        for (let at = 0; at < part.value.length; ) at += writeSync(fd, part.value, at, part.value.length - at, bytes + at);
        bytes += part.value.length;
        crc = crc32c(part.value, 0, undefined, crc);
      } else if (part.case === "end") {
        if (Number(part.value.bytes) !== bytes || part.value.crc32c !== (crc ?? 0)) throw bad("it arrived damaged");
        whole = true;
      }
    }
    if (!whole || !message) throw bad("it ended early");
    const start = performance.now();
    // Megabytes may have to reach the disk; the event loop does not wait for them.
    await dataSync(fd);
    synced.observe((performance.now() - start) / 1000);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, receivedPath(dir, message.meta));
  return message;
}

const bad = (why: string) => new RpcError(Code.DataLoss, `a snapshot is not taken: ${why}`);
