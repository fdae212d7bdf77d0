// A server that does nothing with what it gets, for the benchmark of the wire:
// `server.ts ours|grpc-js raw|typed`. It says its port; a line on stdin is
// answered with the CPU time that it has used, in microseconds.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KV, PutRequestSchema, PutResponseSchema, Watch, WatchResponseSchema } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import type { RawCall } from "../../src/rpc/raw.ts";
import { createRpcServer, PreparedMessage, raw, rawUnary, service } from "../../src/rpc/server.ts";

const ANSWER = { header: { clusterId: 1n, memberId: 2n, revision: 3n, raftTerm: 4n } };
const [, , kind, mode] = process.argv;

async function ours(): Promise<number> {
  const answer = new PreparedMessage(toBinary(PutResponseSchema, create(PutResponseSchema, ANSWER)));
  const watchers = new Set<RawCall>();
  const event = { watchId: 1n, events: [{ kv: { key: new Uint8Array(30), value: new Uint8Array(256) } }] };
  const { address } = await createRpcServer({
    services: [
      service(KV, {
        put: mode === "raw" ? rawUnary(() => answer) : () => ANSWER,
        // One event to every watcher, encoded once; with a revision, how many there are.
        compact({ revision }) {
          if (revision > 0n) return { header: { revision: BigInt(watchers.size) } };
          const message = new PreparedMessage(toBinary(WatchResponseSchema, create(WatchResponseSchema, event)));
          for (const call of watchers) call.send(message);
          return {};
        },
      }),
      service(Watch, {
        watch: raw((call) => {
          watchers.add(call);
          return { message() {}, canceled: () => void watchers.delete(call) };
        }),
      }),
    ],
  }).listen({ host: "127.0.0.1", port: 0 });
  return (address as { port: number }).port;
}

async function grpcJs(): Promise<number> {
  const grpc = await import("@grpc/grpc-js");
  const server = new grpc.Server();
  const put = {
    path: "/etcdserverpb.KV/Put",
    requestStream: false,
    responseStream: false,
    requestSerialize: (m: object) => Buffer.from(toBinary(PutRequestSchema, create(PutRequestSchema, m))),
    requestDeserialize: (b: Buffer) => fromBinary(PutRequestSchema, b),
    responseSerialize: (m: object) => Buffer.from(toBinary(PutResponseSchema, create(PutResponseSchema, m))),
    responseDeserialize: (b: Buffer) => fromBinary(PutResponseSchema, b),
  };
  server.addService({ put }, { put: (_: unknown, answer: (error: null, message: object) => void) => answer(null, ANSWER) });
  return await new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
  );
}

console.log(String(await (kind === "ours" ? ours() : grpcJs())));
for await (const _ of console) {
  const { user, system } = process.cpuUsage();
  console.log(String(user + system));
}
process.exit(0);
