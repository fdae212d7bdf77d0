// Snapshots on their way between members: one after the other, and two leaders' at once.
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Raft, SnapshotChunk } from "../../rpc/gen/kubun/store/raft_pb.ts";
import { type Client, RpcError } from "../../rpc/types.ts";
import { MemberMetrics } from "../metrics.ts";
import type { SnapshotMeta } from "../raft/types.ts";
import { receivedPath } from "../snapshot/file.ts";
import { receiveSnapshot, sendSnapshot } from "./snapshot.ts";

const CLUSTER = 7n;
const OWN = { clusterId: CLUSTER, memberId: 2n };
const CHUNK = 256 * 1024;

function temporary() {
  const dir = mkdtempSync(join(tmpdir(), "kubun-received-"));
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

const metaOf = (index: number): SnapshotMeta => ({
  index,
  term: 3,
  configuration: { voters: [1n, 2n], outgoing: [], learners: [], learnersNext: [], autoLeave: false },
});

/** What a leader sends of a file, chunk by chunk. */
async function sent(path: string, from: bigint, meta: SnapshotMeta): Promise<SnapshotChunk[]> {
  const all: SnapshotChunk[] = [];
  const raft = {
    async installSnapshot(chunks: AsyncIterable<SnapshotChunk>) {
      for await (const chunk of chunks) all.push(chunk);
    },
  } as unknown as Client<typeof Raft>;
  const source = { snapshot: async () => ({ path, meta }), snapshotFailed() {} };
  await sendSnapshot(raft, source, { clusterId: CLUSTER, memberId: from, to: OWN.memberId, term: Number(from) });
  return all;
}

const { fsync } = new MemberMetrics().received;

test("two leaders' snapshots that come in at the same time are each what was sent", async () => {
  using own = temporary();
  using leader = temporary();
  const contents = [1, 2].map((n) => new Uint8Array(3 * CHUNK + n).fill(n));
  const streams = await Promise.all(
    contents.map(async (content, i) => {
      const path = join(leader.dir, `${i}.snap`);
      writeFileSync(path, content);
      return await sent(path, BigInt(3 + i), metaOf(10 + i));
    }),
  );
  // Chunk by chunk in turn: the second begins while the first is half there.
  const gates = streams.map(() => Promise.withResolvers<void>());
  const received = streams.map((stream, i) => {
    async function* paced() {
      for (const chunk of stream) {
        await gates[i]!.promise;
        gates[i] = Promise.withResolvers();
        yield chunk;
      }
    }
    return receiveSnapshot(own.dir, OWN, paced(), fsync);
  });
  for (let turn = 0; turn < streams[0]!.length; turn++) {
    for (const i of [0, 1]) {
      gates[i]!.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const messages = await Promise.all(received);
  expect(messages.map((m) => [m.from, m.term, m.meta.index])).toEqual([
    [3n, 3, 10],
    [4n, 4, 11],
  ]);
  messages.forEach((message, i) => {
    expect(readFileSync(receivedPath(own.dir, message.meta)).equals(contents[i]!)).toBe(true);
  });
  expect(readdirSync(own.dir)).toHaveLength(2);
});

test("what does not arrive whole leaves nothing behind", async () => {
  using own = temporary();
  const path = join(own.dir, "leader's");
  writeFileSync(path, new Uint8Array(CHUNK + 1));
  const whole = await sent(path, 3n, metaOf(10));
  rmSync(path);
  const damaged = structuredClone(whole);
  (damaged[1]!.part.value as Uint8Array)[0]! ^= 1;
  for (const [chunks, words] of [
    [whole.slice(0, -1), "it ended early"],
    [whole.slice(1), "it ended early"],
    [[whole[0]!, ...whole.slice(2)], "it arrived damaged"],
    [damaged, "it arrived damaged"],
  ] as const) {
    async function* stream() {
      yield* chunks;
    }
    const refused = await receiveSnapshot(own.dir, OWN, stream(), fsync).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RpcError);
    expect((refused as RpcError).message).toContain(words);
    expect(readdirSync(own.dir)).toEqual([]);
  }
});
