// A channel goes from a connection that has used up its stream ids to another,
// and no call sees it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Channel, connect, createClient } from "./client.ts";
import { KV, Watch } from "./gen/etcd/rpc_pb.ts";
import { IDS_END } from "./http2/streams.ts";
import { createRpcServer, type RpcListener, service } from "./server.ts";

/** Calls that a connection has ids for. */
const CALLS = 5;

const kv = service(KV, {
  put: (_, { peer }) => ({ prevKv: { key: Buffer.from(peer) } }),
});
const echo = service(Watch, {
  async *watch(requests) {
    for await (const { requestUnion } of requests) {
      if (requestUnion.case === "createRequest") yield { watchId: requestUnion.value.watchId };
    }
  },
});

let listener: RpcListener;
let channel: Channel;
beforeAll(async () => {
  // Few streams at once, so that calls wait for others.
  const server = createRpcServer({ services: [kv, echo], http2: { maxConcurrentStreams: 3 } });
  listener = await server.listen({ host: "127.0.0.1", port: 0 });
  channel = connect(listener.address, { http2: { firstStreamId: IDS_END - 2 * CALLS } });
});
afterAll(async () => {
  channel?.close();
  await listener?.close();
});

/** Says which connection it came over. */
async function put(over: Channel): Promise<string> {
  const { prevKv } = await createClient(KV, over).put({}, { timeout: 20_000 });
  return Buffer.from(prevKv!.key).toString();
}

/** How many calls came over each connection. */
function perConnection(peers: string[]): number[] {
  const counts = new Map<string, number>();
  for (const peer of peers) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  return [...counts.values()];
}

test("calls that wait when the stream ids run out go over another connection, and those that run go on", async () => {
  const proceed = Promise.withResolvers<void>();
  const ask = (watchId: bigint) => ({ requestUnion: { case: "createRequest" as const, value: { watchId } } });
  async function* asks() {
    yield ask(1n);
    await proceed.promise;
    yield ask(2n);
  }
  const watch = createClient(Watch, channel).watch(asks(), { timeout: 20_000 })[Symbol.asyncIterator]();
  expect((await watch.next()).value?.watchId).toBe(1n);

  const peers = await Promise.all(Array.from({ length: CALLS - 1 + 3 * CALLS + 1 }, () => put(channel)));
  expect(perConnection(peers)).toEqual([CALLS - 1, CALLS, CALLS, CALLS, 1]);

  proceed.resolve();
  expect((await watch.next()).value?.watchId).toBe(2n);
  expect((await watch.next()).done).toBe(true);
});

test("a channel whose last call took the last stream id connects again with the next", async () => {
  using own = connect(listener.address, channel.options);
  const peers: string[] = [];
  for (let i = 0; i < 2 * CALLS; i++) peers.push(await put(own));
  expect(own.state).toBe("idle");
  expect(perConnection(peers)).toEqual([CALLS, CALLS]);
});
