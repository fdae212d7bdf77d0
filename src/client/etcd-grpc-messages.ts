// Between the store's types and the messages of etcd's protocol, client side.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Event_EventType, type Event as EventMessage, type KeyValue as KeyValueMessage } from "../rpc/gen/etcd/kv_pb.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  type CompareSchema,
  type RangeRequestSchema,
  type RangeResponse,
  type RequestOpSchema,
  type ResponseOp,
} from "../rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../rpc/types.ts";
import {
  type Compare,
  type KeyValue,
  type Op,
  type OpResult,
  type RangeOptions,
  type RangeResult,
  StoreError,
  type WatchEvent,
} from "./etcd.ts";

export const rangeRequest = (key: Uint8Array, o: RangeOptions): MessageInitShape<typeof RangeRequestSchema> => ({
  key,
  rangeEnd: o.end,
  limit: BigInt(o.limit ?? 0),
  revision: BigInt(o.revision ?? 0),
  keysOnly: o.keysOnly,
  countOnly: o.countOnly,
  serializable: o.serializable,
  minModRevision: BigInt(o.minModRevision ?? 0),
});

const RESULTS = {
  "=": Compare_CompareResult.EQUAL,
  "!=": Compare_CompareResult.NOT_EQUAL,
  ">": Compare_CompareResult.GREATER,
  "<": Compare_CompareResult.LESS,
};

export function compareMessage(c: Compare): MessageInitShape<typeof CompareSchema> {
  const base = { key: c.key, result: RESULTS[c.op] };
  switch (c.target) {
    case "version":
      return { ...base, target: Compare_CompareTarget.VERSION, targetUnion: { case: "version", value: BigInt(c.value) } };
    case "createRevision":
      return { ...base, target: Compare_CompareTarget.CREATE, targetUnion: { case: "createRevision", value: BigInt(c.value) } };
    case "modRevision":
      return { ...base, target: Compare_CompareTarget.MOD, targetUnion: { case: "modRevision", value: BigInt(c.value) } };
    case "value":
      return { ...base, target: Compare_CompareTarget.VALUE, targetUnion: { case: "value", value: c.value } };
    case "lease":
      return { ...base, target: Compare_CompareTarget.LEASE, targetUnion: { case: "lease", value: c.value } };
  }
}

export function requestOp(op: Op): MessageInitShape<typeof RequestOpSchema> {
  switch (op.type) {
    case "range":
      return { request: { case: "requestRange", value: rangeRequest(op.key, op) } };
    case "put":
      return { request: { case: "requestPut", value: { key: op.key, value: op.value, lease: op.lease, prevKv: op.prevKv } } };
    case "delete":
      return { request: { case: "requestDeleteRange", value: { key: op.key, rangeEnd: op.end, prevKv: op.prevKv } } };
  }
}

export const keyValue = (kv: KeyValueMessage): KeyValue => ({
  key: kv.key,
  value: kv.value,
  createRevision: Number(kv.createRevision),
  modRevision: Number(kv.modRevision),
  version: Number(kv.version),
  lease: kv.lease,
});

export const rangeResult = (r: RangeResponse, revision: number): RangeResult => ({
  revision,
  kvs: r.kvs.map(keyValue),
  count: Number(r.count),
  more: r.more,
});

export function opResult({ response }: ResponseOp, revision: number): OpResult {
  switch (response.case) {
    case "responseRange":
      return { type: "range", ...rangeResult(response.value, revision) };
    case "responsePut":
      return response.value.prevKv ? { type: "put", prevKv: keyValue(response.value.prevKv) } : { type: "put" };
    case "responseDeleteRange":
      return { type: "delete", deleted: Number(response.value.deleted), prevKvs: response.value.prevKvs.map(keyValue) };
    default:
      throw new StoreError("invalid", `the store answered an operation with ${response.case ?? "nothing"}`);
  }
}

export const watchEvent = (e: EventMessage): WatchEvent => ({
  type: e.type === Event_EventType.PUT ? "put" : "delete",
  kv: keyValue(e.kv!),
  ...(e.prevKv && { prevKv: keyValue(e.prevKv) }),
});

/** etcd tells its errors by their texts (api/v3rpc/rpctypes). */
const TEXTS: readonly [RegExp, StoreError["reason"]][] = [
  [/required revision has been compacted/, "compacted"],
  [/required revision is a future revision/, "future-revision"],
  [/database space exceeded/, "no-space"],
  [/requested lease not found/, "lease-not-found"],
  [/request timed out/, "timeout"],
  [/too many requests/, "busy"],
];

const CODES: Partial<Record<Code, StoreError["reason"]>> = {
  [Code.DeadlineExceeded]: "deadline",
  [Code.Unavailable]: "unavailable",
  [Code.Canceled]: "unavailable",
  [Code.Internal]: "unavailable",
  [Code.Unknown]: "unavailable",
  [Code.ResourceExhausted]: "unavailable",
  [Code.DataLoss]: "unavailable",
};

export function storeError(error: unknown): Error {
  if (error instanceof StoreError) return error;
  if (!(error instanceof RpcError)) return error instanceof Error ? error : new Error(String(error));
  const reason = TEXTS.find(([text]) => text.test(error.message))?.[1] ?? CODES[error.code] ?? "invalid";
  return new StoreError(reason, error.message, { cause: error });
}
