// The same random requests to ours and to Debian's etcd, whose answers have to
// be the same in every field, as have errors in code and words, and events.
// KUBUN_STORE_SEEDS=1,2,3,4711 asks again what a run did whose last seed was 4711:
// what a seed asks depends on what those before it left.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Requests as RequestStream } from "../../client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import type { Event } from "../../rpc/gen/etcd/kv_pb.ts";
import {
  KV,
  Lease,
  type LeaseKeepAliveRequestSchema,
  Watch,
  type WatchRequestSchema,
  type WatchResponse,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import { noEtcd, type RealEtcd, startEtcd } from "../../testing/etcd.ts";
import { Random } from "../raft/sim/random.ts";
import { KEYS, type Known, Requests, type StoreRequest } from "../testing/requests.ts";
import { failure, Served } from "../testing/served.ts";
import { plain } from "../testing/sides.ts";

const STEPS = 1200;
const WATCHES = 30;
const seeds = process.env.KUBUN_STORE_SEEDS?.split(",").map(Number) ?? [1, 2, 3, Math.floor(Math.random() * 2 ** 31)];

async function ask(channel: Channel, request: StoreRequest): Promise<unknown> {
  const kv = createClient(KV, channel);
  const lease = createClient(Lease, channel);
  switch (request.kind) {
    case "range":
      return kv.range(request.value);
    case "put":
      return kv.put(request.value);
    case "deleteRange":
      return kv.deleteRange(request.value);
    case "txn":
      return kv.txn(request.value);
    case "compact":
      return kv.compact(request.value);
    case "leaseGrant":
      return lease.leaseGrant(request.value);
    case "leaseRevoke":
      return lease.leaseRevoke(request.value);
    case "leaseTimeToLive": {
      const { TTL, keys, ...rest } = await lease.leaseTimeToLive(request.value);
      // Time goes on meanwhile; and keys come from a map.
      return {
        ...rest,
        alive: TTL > 500n,
        TTL: TTL < 0n ? TTL : undefined,
        keys: keys.map((k) => Buffer.from(k).toString("latin1")).sort(),
      };
    }
    case "leaseKeepAlive": {
      const requests = new RequestStream<MessageInitShape<typeof LeaseKeepAliveRequestSchema>>();
      requests.push({ ID: request.id });
      try {
        for await (const answer of lease.leaseKeepAlive(requests)) return { ...answer, header: undefined };
        return "ended";
      } finally {
        requests.end();
      }
    }
    case "leaseLeases":
      return (await lease.leaseLeases({})).leases.map((l) => l.ID).sort((a, b) => Number(a - b));
  }
}

/** What the watches of one stream were told, by their ids. */
interface Seen {
  readonly created: unknown[];
  /** By their ids: when they are is a matter of time. */
  readonly canceled: Map<string, unknown>;
  readonly events: Map<string, unknown[]>;
}

/**
 * Runs the watches until each has seen the last that concerns it, or that what it begins with is compacted.
 * @param finish writes what is seen last; resolves with the first revision of it
 */
async function watch(
  channel: Channel,
  creates: readonly ReturnType<Requests["watch"]>[],
  compacted: number,
  finish: () => Promise<number>,
): Promise<Seen> {
  const requests = new RequestStream<MessageInitShape<typeof WatchRequestSchema>>();
  const stop = new AbortController();
  const answers = createClient(Watch, channel).watch(requests, { signal: stop.signal })[Symbol.asyncIterator]();
  const next = async () => (await answers.next()).value as WatchResponse;
  const seen: Seen = { created: [], canceled: new Map(), events: new Map() };
  const open = new Map<bigint, ReturnType<Requests["watch"]>>();
  const reached = new Map<bigint, bigint>();
  const take = (r: WatchResponse) => {
    if (r.canceled) {
      seen.canceled.set(String(r.watchId), plain({ ...r, header: undefined }));
      open.delete(r.watchId);
    }
    if (r.events.length === 0) return;
    const list = seen.events.get(String(r.watchId)) ?? [];
    seen.events.set(String(r.watchId), list);
    list.push(...r.events.map((e: Event) => plain(e)));
    reached.set(r.watchId, r.events.at(-1)!.kv!.modRevision);
  };
  try {
    for (const create of creates) {
      requests.push({ requestUnion: { case: "createRequest", value: create } });
      let r = await next();
      for (; !r.created; r = await next()) take(r);
      seen.created.push(plain({ ...r, header: undefined }));
      if (r.watchId >= 0n && !r.canceled) open.set(r.watchId, create);
    }
    const from = await finish();
    // Each key was put and then deleted: what a watch sees last follows from its range and its filter.
    const lastOf = ({ key, rangeEnd, filters }: ReturnType<Requests["watch"]>) => {
      const inside = KEYS.flatMap((k, i) => (within(k, key!, rangeEnd!) ? [i] : []));
      return BigInt(inside.length === 0 ? 0 : from + inside.at(-1)! + (filters!.includes(1) ? 0 : KEYS.length));
    };
    // An etcd looks ten times a second for those that begin in the past.
    const tooLate = ({ startRevision }: ReturnType<Requests["watch"]>) => startRevision! > 0n && startRevision! < compacted;
    const waiting = () => [...open].some(([id, create]) => tooLate(create) || (reached.get(id) ?? 0n) < lastOf(create));
    while (waiting()) take(await next());
    return seen;
  } finally {
    requests.end();
    stop.abort();
  }
}

function within(key: Uint8Array, start: Uint8Array, end: Uint8Array): boolean {
  // An empty key is that of the first.
  const from = start.length === 0 ? Uint8Array.of(0) : start;
  if (end.length === 0) return Buffer.compare(key, from) === 0;
  return Buffer.compare(key, from) >= 0 && ((end.length === 1 && end[0] === 0) || Buffer.compare(key, end) < 0);
}

if (noEtcd) console.log(`skipped: requests side by side with a real etcd: ${noEtcd}`);

describe.skipIf(noEtcd !== undefined)("whatever is asked, ours answers as Debian's etcd does,", () => {
  let etcd: RealEtcd;
  let served: Served;
  let theirs: Channel;
  const known: Known = { revision: 2, compacted: 2 };
  beforeAll(async () => {
    [etcd, served] = await Promise.all([startEtcd(), Served.start()]);
    theirs = connect({ host: "127.0.0.1", port: Number(etcd.endpoint.split(":")[1]) });
    // Before anything is compacted, an etcd takes a compaction at 0, once.
    for (const channel of [theirs, served.channel]) {
      const kv = createClient(KV, channel);
      await kv.put({ key: KEYS[0] });
      await kv.compact({ revision: 2n, physical: true });
    }
  });
  afterAll(async () => {
    theirs?.close();
    await Promise.all([etcd?.[Symbol.asyncDispose](), served?.[Symbol.asyncDispose]()]);
  });

  /** What one says, or fails with. */
  async function answerOf(channel: Channel, request: StoreRequest): Promise<unknown> {
    let answer: unknown;
    const failed = await failure(
      ask(channel, request).then((a) => {
        answer = a;
      }),
    );
    return failed ?? plain(answer);
  }

  for (const seed of seeds) {
    test(`seed ${seed}`, async () => {
      const requests = new Requests(new Random(seed));
      for (let step = 0; step < STEPS; step++) {
        const request = requests.next(known);
        const [expected, ours] = await Promise.all([answerOf(theirs, request), answerOf(served.channel, request)]);
        if (!Bun.deepEquals(ours, expected)) console.log(`seed ${seed}, step ${step}: ${JSON.stringify(plain(request))}`);
        expect(ours).toEqual(expected);
        const revision = (ours as { header?: { revision: string } }).header?.revision;
        if (revision) known.revision = Math.max(known.revision, Number(revision));
        if (request.kind === "compact" && typeof ours !== "string") known.compacted = Number(request.value.revision);
      }

      const creates = Array.from({ length: WATCHES }, () => requests.watch(known));
      const both = [theirs, served.channel];
      const seen = await Promise.all(
        both.map((channel) =>
          watch(channel, creates, known.compacted, async () => {
            const kv = createClient(KV, channel);
            const revisions: bigint[] = [];
            for (const key of KEYS) revisions.push((await kv.put({ key })).header!.revision);
            for (const key of KEYS) await kv.deleteRange({ key });
            return Number(revisions[0]);
          }),
        ),
      );
      expect(seen[1]!.created).toEqual(seen[0]!.created);
      const canceled = seen.map((s) => [...s.canceled].sort(([a], [b]) => Number(a) - Number(b)));
      expect(canceled[1]).toEqual(canceled[0]!);
      for (const [id, events] of seen[0]!.events) expect([id, seen[1]!.events.get(id)]).toEqual([id, events]);
      expect([...seen[1]!.events.keys()].sort()).toEqual([...seen[0]!.events.keys()].sort());
      known.revision += 2 * KEYS.length;
    }, 60_000);
  }
});
