// Requests as they stand on the wire, for load generators that send one body over and over.
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  PutRequestSchema,
  RangeRequestSchema,
  TxnRequestSchema,
  WatchRequestSchema,
} from "../../src/rpc/gen/etcd/rpc_pb.ts";

/** A gRPC message with its prefix: not compressed, length, bytes. */
export function framed<D extends DescMessage>(desc: D, message: MessageInitShape<D>): Uint8Array {
  const body = toBinary(desc, create(desc, message));
  const out = new Uint8Array(5 + body.length);
  new DataView(out.buffer).setUint32(1, body.length);
  out.set(body, 5);
  return out;
}

/** The key that every write of a run changes, and every read asks for. */
export const HOT_KEY = Buffer.from("bench/0005000");
/** The keys beside it, so that indexes are not empty. */
export const keyOf = (i: number) => Buffer.from(`bench/${String(i).padStart(7, "0")}`);

const value = new Uint8Array(256).fill(0x78);

export const PUT = framed(PutRequestSchema, { key: HOT_KEY, value });
export const GET = framed(RangeRequestSchema, { key: HOT_KEY });
export const GET_SERIALIZABLE = framed(RangeRequestSchema, { key: HOT_KEY, serializable: true });
/** What a Kubernetes update is: put if the comparison holds, which here it always does, else read. */
export const TXN = framed(TxnRequestSchema, {
  compare: [
    {
      key: HOT_KEY,
      target: Compare_CompareTarget.CREATE,
      result: Compare_CompareResult.GREATER,
      targetUnion: { case: "createRevision", value: 0n },
    },
  ],
  success: [{ request: { case: "requestPut", value: { key: HOT_KEY, value } } }],
  failure: [{ request: { case: "requestRange", value: { key: HOT_KEY } } }],
});
export const WATCH = framed(WatchRequestSchema, { requestUnion: { case: "createRequest", value: { key: HOT_KEY } } });
