import { expect, test } from "bun:test";
import { connect, createClient } from "./client.ts";
import { KV, Maintenance } from "./gen/etcd/rpc_pb.ts";
import { createRpcServer, service } from "./server.ts";
import { CallTimes } from "./stats.ts";
import { Code, RpcError } from "./types.ts";

test("a server counts calls, messages, their bytes, and how calls ended", async () => {
  const server = createRpcServer({
    services: [
      service(KV, {
        range: ({ key }) => {
          if (key.length === 0) throw new RpcError(Code.InvalidArgument, "no key");
          return { count: 7n };
        },
      }),
      service(Maintenance, {
        async *snapshot() {
          yield { blob: new Uint8Array(100) };
          yield { blob: new Uint8Array(100) };
        },
      }),
    ],
  });
  const listener = await server.listen({ host: "127.0.0.1", port: 0 });
  const channel = connect(listener.address);
  const kv = createClient(KV, channel);
  await kv.range({ key: Uint8Array.of(1, 2) });
  await kv.range({}).catch(() => {});
  for await (const _ of createClient(Maintenance, channel).snapshot({})) {
    // Read to its end.
  }
  await kv.put({}).catch(() => {});
  channel.close();
  await listener.close();
  const of = (path: string) => {
    const { handled, times, ...counts } = server.methods.get(path)!.stats;
    expect(times).toBeUndefined();
    return { ...counts, ok: handled[Code.OK], invalid: handled[Code.InvalidArgument], unimplemented: handled[Code.Unimplemented] };
  };
  const none = { started: 0, received: 0, sent: 0, receivedBytes: 0, sentBytes: 0, ok: 0, invalid: 0, unimplemented: 0 };
  expect(of("/etcdserverpb.KV/Range")).toEqual({
    ...none,
    started: 2,
    received: 2,
    receivedBytes: 4,
    sent: 1,
    sentBytes: 2,
    ok: 1,
    invalid: 1,
  });
  expect(of("/etcdserverpb.Maintenance/Snapshot")).toEqual({ ...none, started: 1, received: 1, sent: 2, sentBytes: 204, ok: 1 });
  expect(of("/etcdserverpb.KV/Put")).toEqual({ ...none, started: 1, unimplemented: 1 });
}, 30_000);

test("how long calls take is measured where it is asked for", () => {
  const times = new CallTimes();
  for (const seconds of [0, 0.005, 0.0051, 0.3, 10, 11]) times.observe(seconds);
  expect([...times.counts]).toEqual([2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
  expect(times.sum).toBeCloseTo(21.3101);
});
