// The store's answers as objects of protobuf-es: what those written by hand are compared with.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { KeyValue } from "../../client/etcd.ts";
import { Event_EventType, type EventSchema, type KeyValueSchema } from "../../rpc/gen/etcd/kv_pb.ts";
import type { ResponseOpSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import type { Event, OpAnswer, RangeAnswer } from "../mvcc/types.ts";

type KeyValueInit = MessageInitShape<typeof KeyValueSchema>;

export function keyValue(kv: KeyValue): KeyValueInit {
  return {
    key: kv.key,
    value: kv.value,
    createRevision: BigInt(kv.createRevision),
    modRevision: BigInt(kv.modRevision),
    version: BigInt(kv.version),
    lease: kv.lease,
  };
}

export function event(e: Event, prevKv: boolean): MessageInitShape<typeof EventSchema> {
  return {
    type: e.type === "put" ? Event_EventType.PUT : Event_EventType.DELETE,
    kv: keyValue(e.kv),
    prevKv: prevKv && e.prevKv ? keyValue(e.prevKv) : undefined,
  };
}

export const rangeResponse = (a: RangeAnswer) => ({ kvs: a.kvs.map(keyValue), more: a.more, count: BigInt(a.count) });

export function responseOp(a: OpAnswer): MessageInitShape<typeof ResponseOpSchema> {
  const header = { revision: BigInt(a.revision) };
  switch (a.type) {
    case "range":
      return { response: { case: "responseRange", value: { header, ...rangeResponse(a) } } };
    case "put":
      return { response: { case: "responsePut", value: { header, prevKv: a.prevKv && keyValue(a.prevKv) } } };
    case "delete":
      return { response: { case: "responseDeleteRange", value: { header, deleted: BigInt(a.deleted), prevKvs: a.prevKvs.map(keyValue) } } };
    case "txn":
      return { response: { case: "responseTxn", value: { header: {}, succeeded: a.succeeded, responses: a.results.map(responseOp) } } };
  }
}
