// Between the messages of etcd's protocol and the store's own types.
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  type Compare as CompareMessage,
  type DeleteRangeRequest,
  type PutRequest,
  type RangeRequest,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  type RequestOp,
  type TxnRequest,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import { fromBinary } from "../../rpc/protobuf.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Compare, RangeRequest as CoreRange, TxnRequest as CoreTxn, Op } from "../mvcc/types.ts";

/** A message that came as bytes; throws what its call ends with if they are none. */
export function decoded<D extends DescMessage>(desc: D, request: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(desc, request);
  } catch (error) {
    throw new RpcError(Code.Internal, `grpc: error unmarshalling request: ${(error as Error).message}`, { cause: error });
  }
}

const present = (b: Uint8Array) => (b.length > 0 ? b : undefined);

const SORT_TARGETS = {
  [RangeRequest_SortTarget.KEY]: "key",
  [RangeRequest_SortTarget.VERSION]: "version",
  [RangeRequest_SortTarget.CREATE]: "create",
  [RangeRequest_SortTarget.MOD]: "mod",
  [RangeRequest_SortTarget.VALUE]: "value",
} as const;

function sortOf(r: RangeRequest): CoreRange["sort"] {
  const target = SORT_TARGETS[r.sortTarget];
  if (target === undefined || RangeRequest_SortOrder[r.sortOrder] === undefined) throw new Refused("invalid-sort");
  if (r.sortOrder === RangeRequest_SortOrder.NONE && target === "key") return undefined;
  const descending = r.sortOrder === RangeRequest_SortOrder.DESCEND;
  // Without an order, etcd takes the page first and sorts it then, ascending.
  return r.sortOrder === RangeRequest_SortOrder.NONE ? { target, descending, ofPage: true } : { target, descending };
}

/** 0 is none; below it, a bound is below all revisions, as the first one is. */
const bound = (revision: bigint) => (revision < 0n ? 1 : Number(revision));

export function rangeOf(r: RangeRequest): { type: "range" } & CoreRange {
  return {
    type: "range",
    key: r.key,
    end: present(r.rangeEnd),
    limit: Number(r.limit),
    revision: Number(r.revision),
    sort: sortOf(r),
    keysOnly: r.keysOnly,
    countOnly: r.countOnly,
    serializable: r.serializable,
    minModRevision: bound(r.minModRevision),
    maxModRevision: bound(r.maxModRevision),
    minCreateRevision: bound(r.minCreateRevision),
    maxCreateRevision: bound(r.maxCreateRevision),
  };
}

export function putOf(r: PutRequest): Op {
  const { key, value, lease, prevKv, ignoreValue, ignoreLease } = r;
  return { type: "put", key, value, lease, prevKv, ignoreValue, ignoreLease } as Op;
}

export function deleteOf(r: DeleteRangeRequest): Op {
  return { type: "delete", key: r.key, end: present(r.rangeEnd), prevKv: r.prevKv };
}

export function txnOf(r: TxnRequest): CoreTxn {
  return { compare: r.compare.map(compareOf), success: r.success.map(opOf), failure: r.failure.map(opOf) };
}

/** An operation that says nothing: checkTxn refuses it, in its turn. */
const NO_OP = { type: "none" } as unknown as Op;

function opOf({ request }: RequestOp): Op {
  switch (request.case) {
    case "requestRange":
      return rangeOf(request.value);
    case "requestPut":
      return putOf(request.value);
    case "requestDeleteRange":
      return deleteOf(request.value);
    case "requestTxn":
      return { type: "txn", ...txnOf(request.value) };
    case undefined:
      return NO_OP;
  }
}

const RESULTS = {
  [Compare_CompareResult.EQUAL]: "=",
  [Compare_CompareResult.GREATER]: ">",
  [Compare_CompareResult.LESS]: "<",
  [Compare_CompareResult.NOT_EQUAL]: "!=",
} as const;

const CASES = {
  [Compare_CompareTarget.VERSION]: "version",
  [Compare_CompareTarget.CREATE]: "createRevision",
  [Compare_CompareTarget.MOD]: "modRevision",
  [Compare_CompareTarget.VALUE]: "value",
  [Compare_CompareTarget.LEASE]: "lease",
} as const;

function compareOf(c: CompareMessage): Compare {
  const base = { key: c.key, end: present(c.rangeEnd), op: RESULTS[c.result] };
  // A value for another target than the one that is compared counts as none, as in etcd.
  const value = c.targetUnion.case === CASES[c.target] ? c.targetUnion.value : undefined;
  const number = typeof value === "bigint" ? value : 0n;
  switch (c.target) {
    case Compare_CompareTarget.VERSION:
      return { ...base, target: "version", value: Number(number) };
    case Compare_CompareTarget.CREATE:
      return { ...base, target: "createRevision", value: Number(number) };
    case Compare_CompareTarget.MOD:
      return { ...base, target: "modRevision", value: Number(number) };
    case Compare_CompareTarget.VALUE:
      return { ...base, target: "value", value: value instanceof Uint8Array ? value : new Uint8Array(0) };
    case Compare_CompareTarget.LEASE:
      return { ...base, target: "lease", value: number };
  }
}
