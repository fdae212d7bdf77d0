// The Lock service: a queue of keys, whose oldest has the lock.
import { Lock } from "../../rpc/gen/etcd/lock_pb.ts";
import { service } from "../../rpc/service.ts";
import type { OpAnswer } from "../mvcc/types.ts";
import { header, type ServerContext } from "./context.ts";
import { entering, kvsOf, type Place, Queue, queueing, unknown } from "./queue.ts";

export function lockService(context: ServerContext) {
  return service(Lock, {
    lock: (r, call) =>
      queueing(async () => {
        const queue = new Queue(context, call, r.name);
        const lease = await queue.lease(r.lease);
        const answer = await queue.write(entering(queue, lease));
        const revision = answer.succeeded ? answer.revision : kvsOf(answer, 0)[0]!.createRevision;
        const place: Place = { key: queue.keyOf(lease), lease, revision };
        const [holder] = kvsOf(answer, 1);
        if (!holder || holder.createRevision === revision) return { header: header(context, answer.revision), key: place.key };
        try {
          await queue.waitUntilFirst(revision - 1);
        } catch (error) {
          await queue.leave(place);
          throw error;
        }
        // It may have run out while it waited.
        const own = await queue.read({ type: "range", key: place.key });
        if (own.kvs.length === 0) throw unknown("mutex: session is expired");
        return { header: header(context, own.revision), key: place.key };
      }),

    unlock: ({ key }, call) =>
      queueing(async () => {
        const answer = await new Queue(context, call, key).write({ compare: [], success: [{ type: "delete", key }], failure: [] });
        return { header: header(context, (answer.results[0] as Extract<OpAnswer, { type: "delete" }>).revision) };
      }),
  });
}
