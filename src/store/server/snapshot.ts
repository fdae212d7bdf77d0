// Maintenance.Snapshot: the backend file, and a SHA-256 of it in the end. A
// message is made in the place of the one before it, once that was written.

import { SnapshotResponseSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { create, toBinary } from "../../rpc/protobuf.ts";
import type { RawCall } from "../../rpc/raw.ts";
import { raw } from "../../rpc/service.ts";
import { VERSION } from "../version.ts";
import type { ServerContext } from "./context.ts";
import { rpcError } from "./errors.ts";

const MOST_BYTES = 64 * 1024;

export const snapshotMethod = (context: ServerContext) =>
  raw((call) => {
    let wake: (() => void) | undefined;
    return {
      message() {},
      requestsEnd: () => {
        const { metrics } = context.member;
        const sent = metrics.timed(metrics.backendSnapshot, () => send(context, call, () => new Promise((resolve) => (wake = resolve))));
        return sent.catch((error) => {
          throw rpcError(error);
        });
      },
      drained: () => wake?.(),
      canceled: () => wake?.(),
    };
  });

/** This member as a backup names it. */
export const selfOf = ({ member, name, peerUrls, clientUrls }: ServerContext) => ({
  id: member.identity.memberId,
  name,
  peerUrls,
  clientUrls,
  isLearner: false,
});

async function send(context: ServerContext, call: RawCall, drained: () => Promise<void>): Promise<void> {
  // Loaded for the first snapshot; a store that makes none does without.
  const { backupOf } = await import("../backup/backup.ts");
  const file = await backupOf(context.member, selfOf(context));
  const hash = new Bun.CryptoHasher("sha256");
  const message = new MessageBuffer();
  let remaining = file.size;
  for (const chunk of file.chunks()) {
    hash.update(chunk);
    for (let at = 0; at < chunk.length; at += MOST_BYTES) {
      const blob = chunk.subarray(at, at + MOST_BYTES);
      remaining -= blob.length;
      if (call.finished) return;
      if (!call.send(message.of(remaining, blob))) await drained();
      // A piece at a time: neither other calls nor the connection's buffer see a burst.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  if (call.finished) return;
  call.send(toBinary(SnapshotResponseSchema, create(SnapshotResponseSchema, { blob: hash.digest(), version: VERSION })));
  call.end();
}

const varint = (n: number): number[] => (n < 0x80 ? [n] : [(n % 0x80) | 0x80, ...varint(Math.floor(n / 0x80))]);

/** An etcdserverpb.SnapshotResponse, always at the same place. */
class MessageBuffer {
  readonly #bytes = new Uint8Array(MOST_BYTES + 64);
  readonly #tail = [0x22, VERSION.length, ...new TextEncoder().encode(VERSION)];

  of(remaining: number, blob: Uint8Array): Uint8Array {
    const head = [0x10, ...varint(remaining), 0x1a, ...varint(blob.length)];
    this.#bytes.set(head);
    this.#bytes.set(blob, head.length);
    this.#bytes.set(this.#tail, head.length + blob.length);
    return this.#bytes.subarray(0, head.length + blob.length + this.#tail.length);
  }
}
