// The same random steps on one watch stream of ours and one of Debian's etcd:
// watches with every option and ids of their own come and go while keys change,
// and every answer has to be the same.
import { describe, expect, spyOn, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { TxnRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import { noEtcd } from "../../testing/etcd.ts";
import { Random } from "../raft/sim/random.ts";
import { bytes, Served } from "../testing/served.ts";
import { plain, Sides, seedsOf } from "../testing/sides.ts";
import { type WatchAsk, WatchStream } from "../testing/watch-stream.ts";

const STEPS = 150;
const KEYS = ["a", "aa", "ab", "b", "c"];
const IDS = [0n, 0n, 0n, 1n, 2n, 3n, 50n, 51n, -1n, -2n, 777n];

type Step = (stream: WatchStream) => Promise<unknown>;

/** The newest revision, as the answers tell it. */
interface Now {
  revision: number;
}

function create(random: Random, { revision }: Now): { what: unknown; step: Step } {
  const key = random.chance(0.05) ? "" : random.pick(KEYS);
  const value = {
    key: bytes(key),
    // From the first key on is what tells that all else was told.
    rangeEnd: key === "" ? bytes("") : bytes(random.pick(["", "", "b", "c", "\0", "a", "a\0"])),
    startRevision: BigInt(random.pick([0, 0, 0, revision + 1])),
    filters: random.pick([[], [], [], [0], [1], [0, 1], [1, 1], [5]]),
    prevKv: random.chance(0.5),
    fragment: random.chance(0.3),
    progressNotify: random.chance(0.2),
    watchId: random.pick(IDS),
  };
  const step: Step = async (stream) => {
    stream.ask({ case: "createRequest", value });
    await stream.until("created", (r) => r.created);
  };
  return { what: value, step };
}

function next(random: Random, now: Now, open: Set<bigint>): { what: unknown; step: Step } {
  const kind = random.weighted({ create: 10, cancel: 5, put: 12, delete: 5, txn: 4, progress: 2, nothing: 0.5, compact: 1 });
  const key = bytes(random.pick(KEYS));
  const ask = (what: WatchAsk, such: Parameters<WatchStream["until"]>[1]): { what: unknown; step: Step } => ({
    what,
    step: async (stream) => {
      stream.ask(what);
      await stream.until(kind, such);
    },
  });
  switch (kind) {
    case "create":
      return create(random, now);
    case "cancel": {
      if (open.size === 0) return next(random, now, open);
      const watchId = random.pick([...open]);
      return ask({ case: "cancelRequest", value: { watchId } }, (r) => r.canceled);
    }
    case "put": {
      const value = bytes(`${random.below(3)}`);
      return { what: ["put", key, value], step: (stream) => stream.kv.put({ key, value }) };
    }
    case "delete": {
      const rangeEnd = bytes(random.pick(["", "", "b", "d"]));
      return { what: ["delete", key, rangeEnd], step: (stream) => stream.kv.deleteRange({ key, rangeEnd }) };
    }
    case "txn": {
      const success: MessageInitShape<typeof TxnRequestSchema>["success"] = random
        .shuffled(KEYS)
        .slice(0, 3)
        .map((k, i) =>
          i === 1
            ? { request: { case: "requestDeleteRange", value: { key: bytes(k) } } }
            : { request: { case: "requestPut", value: { key: bytes(k), value: bytes("t") } } },
        );
      return { what: success, step: (stream) => stream.kv.txn({ success }) };
    }
    case "progress":
      return ask({ case: "progressRequest", value: {} }, (r) => r.watchId === -1n && !r.created);
    case "nothing":
      return { what: kind, step: async (stream) => stream.ask({ case: undefined }) };
    case "compact": {
      // At 0, 3.4 takes one once.
      const revision = BigInt(Math.max(1, now.revision - random.below(3)));
      return {
        what: ["compact", revision],
        step: (stream) => stream.kv.compact({ revision, physical: true }).catch((e: Error) => e.message),
      };
    }
  }
}

if (noEtcd) console.log(`skipped: watches side by side with a real etcd: ${noEtcd}`);

describe.skipIf(noEtcd !== undefined)("however keys are watched, ours tells what Debian's etcd tells,", () => {
  for (const seed of seedsOf(1, 2)) {
    test(`seed ${seed}`, async () => {
      await using sides = await Sides.start();
      const streams = await sides.both((channel) => WatchStream.open(channel));
      using _theirs = streams[0];
      using _ours = streams[1];
      const random = new Random(seed);
      const open = new Set<bigint>();
      const now: Now = { revision: 1 };
      for (let i = 0; i < STEPS; i++) {
        const { what, step } = next(random, now, open);
        const [theirs, ours] = await Promise.all(streams.map(async (s) => [plain(await step(s)), await s.told()]));
        expect([seed, i, plain(what), ours]).toEqual([seed, i, plain(what), theirs]);
        for (const [name, answers] of ours![1] as [string, { watchId: string; canceled: boolean }[]][]) {
          const id = BigInt(answers[0]!.watchId);
          if (name.startsWith("created") && !answers[0]!.canceled) open.add(id);
          if (name.startsWith("canceled")) open.delete(id);
        }
        const range = await streams[1].kv.range({ key: bytes("a"), countOnly: true });
        now.revision = Number(range.header!.revision);
      }
    }, 60_000);
  }
});

/** A stream with a watch of many keys, and one of "a" that begins later. */
async function withOneLater(served: Served, startRevision: bigint): Promise<WatchStream> {
  const stream = new WatchStream(served.channel);
  for (const value of [
    { key: bytes("a"), rangeEnd: bytes("z") },
    { key: bytes("a"), startRevision },
  ]) {
    stream.ask({ case: "createRequest", value });
    await stream.until("created", (r) => r.created);
  }
  stream.ask({ case: "progressRequest", value: {} });
  return stream;
}

test("while progress waits for a watch that begins later, nothing turns round and round", async () => {
  await using served = await Served.start();
  using turns = spyOn(globalThis, "setImmediate");
  using _stream = await withOneLater(served, 1000n);
  for (let i = 0; i < 50; i++) await served.kv.range({ key: bytes("b") });
  // The calls themselves take turns too.
  expect(turns.mock.calls.filter(([turn]) => String(turn).includes("Progress")).length).toBeLessThan(5);
});

test("progress is told once all watches have begun, and each was told of the revision that it stands for", async () => {
  await using served = await Served.start();
  using stream = await withOneLater(served, 4n);
  // Revision 2, of which the first is told, and 3, of which neither is.
  await served.kv.put({ key: bytes("b") });
  await stream.until("the event", (r) => r.events.length > 0);
  await served.kv.put({ key: bytes("zz") });
  await served.kv.put({ key: bytes("a") });
  const seen: [bigint, number][] = [];
  await stream.until("progress", (r) => {
    seen.push([r.watchId, r.events.length]);
    return r.watchId === -1n;
  });
  expect(seen.slice(0, 2).sort()).toEqual([
    [0n, 1],
    [1n, 1],
  ]);
  expect(seen.slice(2)).toEqual([[-1n, 0]]);
});
