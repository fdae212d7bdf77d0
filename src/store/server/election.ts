// The Election service: a queue of candidates, whose oldest leads.
import { Election, type LeaderKey } from "../../rpc/gen/etcd/election_pb.ts";
import { service } from "../../rpc/service.ts";
import type { HandlerContext } from "../../rpc/types.ts";
import type { TxnAnswer, Version } from "../mvcc/types.ts";
import { header, type ServerContext } from "./context.ts";
import { entering, kvsOf, type Place, Queue, queueing, unknown } from "./queue.ts";

export function electionService(context: ServerContext) {
  const leader = (kv: Version, revision: number) => ({ header: header(context, revision), kv: message(kv) });

  return service(Election, {
    campaign: (r, call) =>
      queueing(async () => {
        const queue = new Queue(context, call, r.name);
        const lease = await queue.lease(r.lease);
        const answer = await queue.write(entering(queue, lease, r.value));
        const [before] = answer.succeeded ? [] : kvsOf(answer, 0);
        const place: Place = { key: queue.keyOf(lease), lease, revision: before?.createRevision ?? answer.revision };
        try {
          if (before && Buffer.compare(before.value, r.value) !== 0) await proclaim(queue, place, r.value);
          await queue.waitUntilFirst(place.revision - 1);
        } catch (error) {
          await queue.leave(place);
          throw error;
        }
        return {
          header: header(context, answer.revision),
          leader: { name: r.name, key: place.key, rev: BigInt(place.revision), lease },
        };
      }),

    proclaim: (r, call) =>
      queueing(async () => {
        const { queue, place } = resumed(context, call, r.leader);
        const answer = await proclaim(queue, place, r.value);
        return { header: header(context, answer.revision) };
      }),

    leader: (r, call) =>
      queueing(async () => {
        const queue = new Queue(context, call, r.name);
        const { revision, kvs } = await queue.read(queue.oldest);
        if (!kvs[0]) throw unknown("election: no leader");
        return leader(kvs[0], revision);
      }),

    async *observe(r, call) {
      const queue = new Queue(context, call, r.name);
      for (;;) {
        const found = await queueing(() => queue.read(queue.oldest));
        let kv = found.kvs[0];
        let from = found.revision + 1;
        if (!kv) {
          kv = await firstPut(queue, found.revision + 1);
          if (!kv) continue;
          from = kv.modRevision + 1;
        }
        yield leader(kv, from - 1);
        for await (const { put, kv: changed } of flat(queue.changes(kv.key, undefined, from))) {
          if (!put) break;
          yield leader(changed, changed.modRevision);
        }
      }
    },

    resign: (r, call) =>
      queueing(async () => {
        const { queue, place } = resumed(context, call, r.leader);
        const answer = await queue.write({
          compare: [{ key: place.key, op: "=", target: "createRevision", value: place.revision }],
          success: [{ type: "delete", key: place.key }],
          failure: [],
        });
        return { header: header(context, answer.revision) };
      }),
  });
}

const message = ({ key, value, createRevision, modRevision, version, lease }: Version) => ({
  ...{ key, value, lease },
  ...{ createRevision: BigInt(createRevision), modRevision: BigInt(modRevision), version: BigInt(version) },
});

function resumed(context: ServerContext, call: HandlerContext, leader: LeaderKey | undefined): { queue: Queue; place: Place } {
  if (!leader) throw unknown('"leader" field must be provided');
  return { queue: new Queue(context, call, leader.name), place: { key: leader.key, lease: leader.lease, revision: Number(leader.rev) } };
}

async function proclaim(queue: Queue, { key, lease, revision }: Place, value: Uint8Array): Promise<TxnAnswer> {
  const answer = await queue.write({
    compare: [{ key, op: "=", target: "createRevision", value: revision }],
    success: [{ type: "put", key, value, lease }],
    failure: [],
  });
  if (!answer.succeeded) throw unknown("election: not leader");
  return answer;
}

/** The first key put in the queue; undefined where that was compacted away. */
async function firstPut(queue: Queue, from: number): Promise<Version | undefined> {
  for await (const { put, kv } of flat(queue.changes(queue.range.key, queue.range.end, from))) if (put) return kv;
  return undefined;
}

async function* flat<T>(batches: AsyncIterable<readonly T[]>): AsyncGenerator<T> {
  for await (const batch of batches) yield* batch;
}
