import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Channel, connect, createClient } from "../client.ts";
import { KV, Lease, Watch } from "../gen/etcd/rpc_pb.ts";
import { decodeBinary, encodeBinary } from "../metadata.ts";
import { createRpcServer, type RpcListener, type RpcServerOptions, service } from "../server.ts";
import { selfSigned } from "../testing/certificate.ts";
import { ErrorCode, FrameType, RawPeer } from "../testing/raw-http2.ts";
import { type Address, Code, type HandlerContext, RpcError } from "../types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

/** What the handlers saw, by the key of the request. */
const seen = new Map<string, HandlerContext>();
const held = new Map<string, () => void>();

/** Behaves as its key says. */
const kv = service(KV, {
  put: ({ key, value }) => ({ prevKv: { key, value } }),
  async range({ key, limit }, context) {
    const what = text(key);
    seen.set(what, context);
    if (what === "error") throw new RpcError(Code.NotFound, "no ümlaut % here\n", { metadata: new Headers({ "x-why": "gone" }) });
    if (what === "bug") throw new TypeError("not meant for anybody");
    if (what === "big") return { kvs: [{ value: new Uint8Array(Number(limit)).fill(7) }] };
    if (what === "hold") await new Promise<void>((resolve) => held.set("hold", resolve));
    if (what === "meta") {
      context.responseHeaders.set("x-head", context.requestHeaders.get("x-ask") ?? "");
      context.responseTrailers.set("x-tail-bin", encodeBinary(decodeBinary(context.requestHeaders.get("x-ask-bin")!).reverse()));
    }
    return { count: 1n };
  },
});

const streams = service(Watch, {
  async *watch(requests, context) {
    seen.set("watch", context);
    for await (const { requestUnion } of requests) {
      if (requestUnion.case === "cancelRequest") throw new RpcError(Code.Aborted, "as asked");
      if (requestUnion.case !== "createRequest") continue;
      const { startRevision, watchId } = requestUnion.value;
      for (let i = 0n; i < startRevision; i++) yield { watchId, compactRevision: i, cancelReason: "x".repeat(1000) };
    }
  },
});

const create = (watchId: bigint, startRevision: bigint) => ({
  requestUnion: { case: "createRequest" as const, value: { watchId, startRevision } },
});

async function failure(call: Promise<unknown>): Promise<RpcError> {
  try {
    await call;
  } catch (error) {
    expect(error).toBeInstanceOf(RpcError);
    return error as RpcError;
  }
  throw new Error("the call did not fail");
}

const dir = mkdtempSync(join(tmpdir(), "rpc-"));
afterAll(() => rmSync(dir, { recursive: true }));

const carriers: { name: string; start: () => Promise<{ listener: RpcListener; channel: Channel }> }[] = [
  { name: "TCP", start: () => start({ host: "127.0.0.1", port: 0 }) },
  { name: "a unix socket", start: () => start({ unix: join(dir, "s") }) },
  { name: "gzip both ways", start: () => start({ host: "127.0.0.1", port: 0 }, { compressFrom: 0 }) },
  {
    name: "TLS with client certificates",
    async start() {
      const [server, client] = await Promise.all([selfSigned("server"), selfSigned("client")]);
      const listener = await createRpcServer({
        services: [kv, streams],
        tls: { ...server, clientCa: client.cert, requireClientCert: true },
      }).listen({ host: "127.0.0.1", port: 0 });
      return { listener, channel: connect(listener.address, { tls: { ...client, ca: server.cert } }) };
    },
  },
];

async function start(address: Address, options: Partial<RpcServerOptions> = {}) {
  const listener = await createRpcServer({ services: [kv, streams], ...options }).listen(address);
  return { listener, channel: connect(listener.address, { compressFrom: options.compressFrom }) };
}

for (const { name, start } of carriers) {
  describe(`over ${name}`, () => {
    let listener: RpcListener;
    let channel: Channel;
    beforeAll(async () => {
      ({ listener, channel } = await start());
    });
    afterAll(async () => {
      channel.close();
      await listener.close();
    });

    test("a unary call carries a message each way", async () => {
      const { prevKv } = await createClient(KV, channel).put({ key: bytes("k"), value: new Uint8Array(100_000).fill(3) });
      expect(prevKv?.value).toEqual(new Uint8Array(100_000).fill(3));
    });

    test("many calls at once each get their own answer", async () => {
      const client = createClient(KV, channel);
      const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => client.put({ key: bytes(`k${i}`) })));
      expect(answers.map(({ prevKv }) => text(prevKv!.key))).toEqual(Array.from({ length: 500 }, (_, i) => `k${i}`));
    });

    test("an error keeps its code, its message in any script, and its metadata", async () => {
      const error = await failure(createClient(KV, channel).range({ key: bytes("error") }));
      expect([error.code, error.message, error.metadata.get("x-why")]).toEqual([Code.NotFound, "no ümlaut % here\n", "gone"]);
    });

    test("metadata goes both ways, bytes too", async () => {
      let head: Headers | undefined;
      await createClient(KV, channel).range(
        { key: bytes("meta") },
        { headers: { "X-Ask": "hello", "x-ask-bin": encodeBinary(Uint8Array.of(0, 1, 255)) }, onHeaders: (headers) => (head = headers) },
      );
      expect(head?.get("x-head")).toBe("hello");
      expect(seen.get("meta")?.requestHeaders.get("x-ask")).toBe("hello");
    });

    test("a stream answers each request as it comes", async () => {
      const next: ((request: ReturnType<typeof create> | undefined) => void)[] = [];
      async function* requests() {
        for (;;) {
          const request = await new Promise<ReturnType<typeof create> | undefined>((resolve) => next.push(resolve));
          if (!request) return;
          yield request;
        }
      }
      const answers = createClient(Watch, channel).watch(requests())[Symbol.asyncIterator]();
      for (const id of [1n, 2n]) {
        while (next.length === 0) await Bun.sleep(1);
        next.shift()!(create(id, 1n));
        expect((await answers.next()).value?.watchId).toBe(id);
      }
      while (next.length === 0) await Bun.sleep(1);
      next.shift()!(undefined);
      expect((await answers.next()).done).toBe(true);
    });

    test("ten megabytes stream through the windows of a slow reader", async () => {
      let count = 0n;
      for await (const answer of createClient(Watch, channel).watch(
        (async function* () {
          yield create(0n, 10_000n);
        })(),
      )) {
        expect(answer.compactRevision).toBe(count++);
        if (count % 2000n === 0n) await Bun.sleep(5);
      }
      expect(count).toBe(10_000n);
    });

    test("a stream's error comes after its messages", async () => {
      const got: bigint[] = [];
      const error = await failure(
        (async () => {
          async function* requests() {
            yield create(5n, 3n);
            yield { requestUnion: { case: "cancelRequest" as const, value: {} } };
          }
          for await (const { compactRevision } of createClient(Watch, channel).watch(requests())) got.push(compactRevision);
        })(),
      );
      expect([got, error.code, error.message]).toEqual([[0n, 1n, 2n], Code.Aborted, "as asked"]);
    });

    test("leaving the loop cancels the call at the server", async () => {
      seen.delete("watch");
      for await (const _ of createClient(Watch, channel).watch(
        (async function* () {
          yield create(0n, 1_000_000n);
        })(),
      )) {
        break;
      }
      const { signal } = seen.get("watch")!;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      expect((signal.reason as RpcError).code).toBe(Code.Canceled);
    });

    test("a deadline ends the call at both ends", async () => {
      seen.delete("hold");
      const late = failure(createClient(KV, channel).range({ key: bytes("hold") }, { timeout: 250 }));
      while (!seen.has("hold")) await Bun.sleep(1);
      expect((await late).code).toBe(Code.DeadlineExceeded);
      const { signal } = seen.get("hold")!;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      held.get("hold")!();
    });

    test("a signal cancels the call", async () => {
      const controller = new AbortController();
      const call = failure(createClient(KV, channel).range({ key: bytes("hold") }, { signal: controller.signal }));
      setTimeout(() => controller.abort(), 10);
      expect((await call).code).toBe(Code.Canceled);
      held.get("hold")?.();
    });

    test("messages over 4 MiB are refused by either side", async () => {
      const client = createClient(KV, channel);
      if (name !== "gzip both ways") {
        expect((await failure(client.put({ value: new Uint8Array(4 * 1024 * 1024) }))).code).toBe(Code.ResourceExhausted);
      }
      expect((await failure(client.range({ key: bytes("big"), limit: 5_000_000n }))).code).toBe(Code.ResourceExhausted);
      expect((await client.range({ key: bytes("big"), limit: 4_000_000n })).kvs[0]?.value.length).toBe(4_000_000);
    });

    test("what is not implemented says so", async () => {
      expect((await failure(createClient(KV, channel).compact({}))).code).toBe(Code.Unimplemented);
      expect((await failure(createClient(Lease, channel).leaseGrant({}))).message).toBe("unknown service etcdserverpb.Lease");
    });

    test("a handler sees who calls", () => {
      const { peer, peerCertificate } = seen.get("error")!;
      expect(peer).toMatch(name === "a unix socket" ? /^@$/ : /^127\.0\.0\.1:\d+$/);
      expect(peerCertificate !== undefined).toBe(name === "TLS with client certificates");
    });
  });
}

describe("a limit of messages", () => {
  test("holds for what a compressed one unpacks to", async () => {
    const { listener, channel } = await start({ host: "127.0.0.1", port: 0 });
    const peer = await RawPeer.connect((listener.address as { port: number }).port);
    // 100 MB of zeros.
    const bomb = gzipSync(new Uint8Array(100_000_000));
    const { length } = bomb;
    const head = [":method", "POST", ":scheme", "http", ":path", "/etcdserverpb.KV/Put", "content-type", "application/grpc"];
    peer.send((f) => f.preface().headers(1, [...head, "grpc-encoding", "gzip"], 4));
    const message = Uint8Array.of(1, 0, length >> 16, length >> 8, length, ...bomb);
    peer.send((f) => f.frame(FrameType.DATA, 0, 1, message.subarray(0, 50_000)).frame(FrameType.DATA, 1, 1, message.subarray(50_000)));
    await peer.until(() => peer.lines.some((line) => line.startsWith("HEADERS")));
    expect(peer.lines.at(-1)).toBe(
      "HEADERS 1 END_STREAM 200 grpc: received message after decompression larger than max (4194305 vs. 4194304)",
    );
    peer.end();
    channel.close();
    await listener.close();
  });

  test("may stand on what a client sends", async () => {
    const listener = await createRpcServer({ services: [kv] }).listen({ host: "127.0.0.1", port: 0 });
    using channel = connect(listener.address, { maxSendSize: 1000 });
    const client = createClient(KV, channel);
    expect((await client.put({ key: new Uint8Array(900) })).prevKv?.key.length).toBe(900);
    const error = await failure(client.put({ key: new Uint8Array(1000) }));
    expect([error.code, error.message]).toEqual([Code.ResourceExhausted, "trying to send message larger than max (1003 vs. 1000)"]);
    await listener.close();
  });
});

describe("a channel", () => {
  test("fails calls with Unavailable while the server is away, and finds it again", async () => {
    const address = { unix: join(dir, "away") };
    using channel = connect(address, { backoff: { initial: 5, max: 20 } });
    const client = createClient(KV, channel);
    expect((await failure(client.put({}))).code).toBe(Code.Unavailable);
    const waiting = client.put({ key: bytes("w") }, { waitForReady: true });
    const first = await createRpcServer({ services: [kv] }).listen(address);
    expect(text((await waiting).prevKv!.key)).toBe("w");
    held.clear();
    const cutOff = failure(client.range({ key: bytes("hold") }));
    while (!held.has("hold")) await Bun.sleep(1);
    await first.close();
    expect((await cutOff).code).toBe(Code.Unavailable);
    expect((await failure(client.put({}))).code).toBe(Code.Unavailable);
    const second = await createRpcServer({ services: [kv] }).listen(address);
    expect(text((await client.put({ key: bytes("again") }, { waitForReady: true })).prevKv!.key)).toBe("again");
    await second.close();
  });

  test("moves to a new connection when the server drains, and the calls that run end in peace", async () => {
    const address = { unix: join(dir, "drain") };
    const first = await createRpcServer({ services: [kv] }).listen(address);
    using channel = connect(address);
    const client = createClient(KV, channel);
    held.clear();
    const running = client.range({ key: bytes("hold") });
    while (!held.has("hold")) await Bun.sleep(1);
    const closing = first.close(5000);
    const second = await createRpcServer({ services: [kv] }).listen(address);
    while (channel.state === "ready") await Bun.sleep(1);
    await client.put({}, { waitForReady: true });
    held.get("hold")!();
    expect((await running).count).toBe(1n);
    await closing;
    await second.close();
  });

  test("holds calls back that are over the server's limit of streams", async () => {
    const listener = await createRpcServer({ services: [kv], http2: { maxConcurrentStreams: 2 } }).listen({ host: "127.0.0.1", port: 0 });
    using channel = connect(listener.address);
    const client = createClient(KV, channel);
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.put({ key: bytes("k") })));
    expect(answers.length).toBe(50);
    await listener.close();
  });

  test("with keepalive leaves a server that has fallen silent", async () => {
    // It greets with SETTINGS, and that is all.
    const silent = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => void socket.write(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0)),
        data() {},
      },
    });
    using channel = connect({ host: "127.0.0.1", port: silent.port }, { keepalive: { interval: 20, timeout: 20 } });
    const error = await failure(createClient(KV, channel).put({}));
    expect([error.code, error.message]).toEqual([Code.Unavailable, expect.stringContaining("keepalive")]);
    silent.stop(true);
  });

  test("with keepalive asks half as often after too_many_pings", async () => {
    // Waits of the first ping on each connection; the first connection is sent away for it.
    const waits: number[] = [];
    const twice = Promise.withResolvers<void>();
    const server = Bun.listen<RawPeer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        binaryType: "uint8array",
        open(socket) {
          const peer = new RawPeer(true);
          socket.data = peer;
          peer.handler.open(socket);
          peer.send((f) => f.settings());
          let since = performance.now();
          peer.onFrame = (type) => {
            if (type !== FrameType.PING) {
              since = performance.now();
              return;
            }
            waits.push(performance.now() - since);
            if (waits.length === 2) return twice.resolve();
            const debug = [0, 0, 0, 0, 0, 0, 0, ErrorCode.ENHANCE_YOUR_CALM, ...bytes("too_many_pings")];
            peer.send((f) => f.frame(FrameType.GOAWAY, 0, 0, debug)).finish();
          };
        },
        data: (socket, chunk: Uint8Array) => socket.data.handler.data(socket, chunk),
        close: (socket) => socket.data.handler.close(),
      },
    });
    using channel = connect({ host: "127.0.0.1", port: server.port }, { keepalive: { interval: 200, timeout: 20_000 } });
    // GOAWAY leaves it out, so it goes over the second connection again.
    const call = failure(createClient(KV, channel).put({}));
    await twice.promise;
    // An interval passes in which the greeting was heard, and one of silence: 400 ms, and twice as much then. Frames may
    // be seen late here, so that a wait looks shorter.
    expect(waits[1]).toBeGreaterThan(550);
    server.stop(true);
    expect((await call).code).toBe(Code.Unavailable);
  });

  test("refuses a server whose certificate it does not know, and one that is not there", async () => {
    const listener = await createRpcServer({ services: [kv], tls: await selfSigned("server") }).listen({ host: "127.0.0.1", port: 0 });
    using untrusting = connect(listener.address, { tls: { ca: (await selfSigned("other")).cert } });
    expect((await failure(createClient(KV, untrusting).put({}))).code).toBe(Code.Unavailable);
    using trusting = connect(listener.address, { tls: { insecureSkipVerify: true } });
    expect(await createClient(KV, trusting).put({})).toBeDefined();
    await listener.close();
  });

  test("a server that asks for a certificate refuses one of another authority, and none where it has to be", async () => {
    const [server, client, other] = await Promise.all([selfSigned("server"), selfSigned("client"), selfSigned("other")]);
    for (const requireClientCert of [true, false]) {
      const tls = { ...server, clientCa: client.cert, requireClientCert };
      const listener = await createRpcServer({ services: [kv], tls }).listen({ host: "127.0.0.1", port: 0 });
      const call = async (certificate: object) => {
        using channel = connect(listener.address, { tls: { ca: server.cert, ...certificate } });
        return await createClient(KV, channel).put({});
      };
      expect(await call(client)).toBeDefined();
      expect((await failure(call(other))).code).toBe(Code.Unavailable);
      if (requireClientCert) expect((await failure(call({}))).code).toBe(Code.Unavailable);
      else expect(await call({})).toBeDefined();
      await listener.close();
    }
  });
});
