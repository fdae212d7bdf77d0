// Methods whose messages stay bytes, and answers that are encoded once, over every protocol.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient as createConnectClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { connect, createClient } from "./client.ts";
import {
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  KV,
  Lease,
  Maintenance,
  PutRequestSchema,
  PutResponseSchema,
  SnapshotResponseSchema,
  Watch,
  WatchRequestSchema,
  WatchResponseSchema,
} from "./gen/etcd/rpc_pb.ts";
import { PreparedMessage, type RawCall, raw, rawReply, rawUnary } from "./raw.ts";
import { createRpcServer, type RpcListener, service } from "./server.ts";
import { Code, RpcError } from "./types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const prepared = new PreparedMessage(
  toBinary(SnapshotResponseSchema, create(SnapshotResponseSchema, { remainingBytes: 5n, blob: new Uint8Array(3000) })),
);
const canceled: RpcError[] = [];
let onCanceled = () => {};

const services = [
  service(KV, {
    put: rawUnary(async (request, { responseHeaders }) => {
      responseHeaders.set("x-head", "h");
      const { key } = fromBinary(PutRequestSchema, request);
      if (key.length === 0) throw new RpcError(Code.InvalidArgument, "etcdserver: key is not provided");
      return toBinary(PutResponseSchema, create(PutResponseSchema, { prevKv: { key } }));
    }),
    range: rawUnary(() => {
      throw new Error("broken");
    }),
    deleteRange: rawReply((request, reply) => {
      const { key } = fromBinary(DeleteRangeRequestSchema, request);
      const answer = () =>
        reply.send(toBinary(DeleteRangeResponseSchema, create(DeleteRangeResponseSchema, { deleted: BigInt(key.length) })));
      if (key.length === 0) throw new RpcError(Code.InvalidArgument, "etcdserver: key is not provided");
      if (key.length === 1) return answer();
      if (key.length === 2) setTimeout(answer, 1);
      else setTimeout(() => reply.fail(new RpcError(Code.OutOfRange, "too many")), 1);
    }),
  }),
  service(Lease, { leaseGrant: () => new PreparedMessage(Uint8Array.of(0x18, 0x3c)) }),
  service(Maintenance, {
    async *snapshot() {
      for (let i = 0; i < 5; i++) yield prepared;
    },
  }),
  service(Watch, {
    watch: raw((call: RawCall) => ({
      message(request) {
        const { requestUnion } = fromBinary(WatchRequestSchema, request);
        if (requestUnion.case === "cancelRequest") return call.end(new RpcError(Code.Aborted, "as asked"));
        if (requestUnion.case === "progressRequest") throw new RpcError(Code.DataLoss, "thrown");
        call.send(toBinary(WatchResponseSchema, create(WatchResponseSchema, { watchId: requestUnion.value?.watchId ?? 0n })));
      },
      requestsEnd() {
        call.send(toBinary(WatchResponseSchema, create(WatchResponseSchema, { cancelReason: "end" })));
        call.end();
      },
      canceled(error) {
        canceled.push(error);
        onCanceled();
      },
    })),
  }),
];

let listener: RpcListener;
let base: string;
beforeAll(async () => {
  listener = await createRpcServer({ services, compressFrom: 1000 }).listen({ host: "127.0.0.1", port: 0 });
  base = `http://127.0.0.1:${(listener.address as { port: number }).port}`;
});
afterAll(() => listener.close());

const watchRequest = (watchId: bigint) => ({ requestUnion: { case: "createRequest" as const, value: { watchId } } });
async function* requests(...ids: bigint[]) {
  for (const id of ids) yield watchRequest(id);
}
const failure = (promise: Promise<unknown>): Promise<RpcError> =>
  promise.then(
    () => expect.unreachable(),
    (error) => error,
  );

test("raw methods answer native gRPC", async () => {
  using channel = connect(listener.address);
  const kv = createClient(KV, channel);
  const heads: (string | null)[] = [];
  const { prevKv } = await kv.put({ key: bytes("k") }, { onHeaders: (headers) => heads.push(headers.get("x-head")) });
  expect([prevKv?.key, heads]).toEqual([bytes("k"), ["h"]]);
  expect(await failure(kv.put({}))).toMatchObject({ code: Code.InvalidArgument, message: "etcdserver: key is not provided" });
  expect(await failure(kv.range({}))).toMatchObject({ code: Code.Unknown, message: "broken" });
  expect((await createClient(Lease, channel).leaseGrant({})).TTL).toBe(60n);
  const got: unknown[] = [];
  for await (const { watchId, cancelReason } of createClient(Watch, channel).watch(requests(1n, 2n))) got.push(cancelReason || watchId);
  expect(got).toEqual([1n, 2n, "end"]);
});

test("a reply comes at once, later, or is a failure", async () => {
  using channel = connect(listener.address);
  const kv = createClient(KV, channel);
  const remove = (key: string) => kv.deleteRange({ key: bytes(key) });
  expect([(await remove("a")).deleted, (await remove("ab")).deleted]).toEqual([1n, 2n]);
  expect(await failure(remove(""))).toMatchObject({ code: Code.InvalidArgument, message: "etcdserver: key is not provided" });
  expect(await failure(remove("abc"))).toMatchObject({ code: Code.OutOfRange, message: "too many" });
  // Nobody waits any more when it comes.
  expect(await failure(kv.deleteRange({ key: bytes("ab") }, { signal: AbortSignal.abort() }))).toMatchObject({ code: Code.Canceled });
});

test("a prepared message goes to any number of calls, compressed once", async () => {
  using channel = connect(listener.address);
  for (let call = 0; call < 3; call++) {
    let size = 0;
    for await (const { blob } of createClient(Maintenance, channel).snapshot({})) size += blob.length;
    expect(size).toBe(15_000);
  }
  const packed = prepared.packed(() => expect.unreachable());
  expect(packed.length).toBeLessThan(200);
  expect(prepared.framed).toBe(prepared.framed);
});

test("a raw stream ends with what its listener throws or says, and hears of a client that leaves", async () => {
  using channel = connect(listener.address);
  const watch = (which: "cancelRequest" | "progressRequest") =>
    failure(
      (async () => {
        async function* one() {
          yield { requestUnion: { case: which, value: {} } };
        }
        for await (const _ of createClient(Watch, channel).watch(one()));
      })(),
    );
  expect((await watch("cancelRequest")).message).toBe("as asked");
  expect(canceled).toEqual([]);
  expect((await watch("progressRequest")).message).toBe("thrown");
  expect(canceled.map(({ code }) => code)).toEqual([Code.DataLoss]);
  const told = new Promise<void>((resolve) => (onCanceled = resolve));
  for await (const _ of createClient(Watch, channel).watch(
    (async function* () {
      yield watchRequest(1n);
      await told;
    })(),
  )) {
    break;
  }
  await told;
  expect(canceled.map(({ code }) => code)).toEqual([Code.DataLoss, Code.Canceled]);
});

const transports: [string, () => Transport][] = [
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: base })],
  ["Connect with protobuf", () => createConnectTransport({ baseUrl: base, useBinaryFormat: true })],
  ["Connect with JSON", () => createConnectTransport({ baseUrl: base, useBinaryFormat: false })],
];
for (const [name, transport] of transports) {
  test(`raw methods and prepared messages answer ${name}`, async () => {
    const kv = createConnectClient(KV, transport());
    expect((await kv.put({ key: bytes("k") })).prevKv?.key).toEqual(bytes("k"));
    const error = ConnectError.from(await failure(kv.put({})));
    expect([error.code as number, error.rawMessage]).toEqual([Code.InvalidArgument, "etcdserver: key is not provided"]);
    expect((await createConnectClient(Lease, transport()).leaseGrant({})).TTL).toBe(60n);
    let size = 0;
    for await (const { blob } of createConnectClient(Maintenance, transport()).snapshot({})) size += blob.length;
    expect(size).toBe(15_000);
  });
}
