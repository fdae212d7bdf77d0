// Mutated sessions and random frames against both ends: whatever comes, there
// are only errors of HTTP/2 and of streams, no crash, no hang, and nothing stays.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { connect, createClient } from "../client.ts";
import { KV, Watch } from "../gen/etcd/rpc_pb.ts";
import { createRpcServer, type RpcListener, raw, rawUnary, service } from "../server.ts";
import { cut } from "../testing/cut.ts";
import { Flag, Frames, FrameType, RawPeer } from "../testing/raw-http2.ts";
import { Connection } from "./connection.ts";
import { ErrorCode, Http2Error } from "./errors.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import type { Stream, StreamListener } from "./stream.ts";

const request = (path: string, ...more: string[]) => [":method", "POST", ":scheme", "http", ":path", path, ":authority", "a", ...more];
const GRPC = ["content-type", "application/grpc", "te", "trailers", "grpc-timeout", "1S"];

/** What a client of gRPC sends in its life: unary calls, a stream, windows, pings, a cancellation, and GOAWAY. */
function clientSession(): Uint8Array {
  const f = new Frames().preface([[4, 1 << 20]]);
  f.words(FrameType.WINDOW_UPDATE, 0, 1 << 20);
  f.headers(1, request("/etcdserverpb.KV/Range", ...GRPC), Flag.END_HEADERS).frame(
    FrameType.DATA,
    Flag.END_STREAM,
    1,
    [0, 0, 0, 0, 3, 10, 1, 97],
  );
  f.headers(3, request("/etcdserverpb.Watch/Watch", ...GRPC), Flag.END_HEADERS);
  for (let i = 0; i < 4; i++) f.frame(FrameType.DATA, 0, 3, [0, 0, 0, 0, 4, 10, 2, 24, i]);
  f.ping(1).words(FrameType.WINDOW_UPDATE, 3, 1000);
  f.headers(5, request("/etcdserverpb.KV/Range", ...GRPC, "x-a", "é".repeat(40)), Flag.END_HEADERS).words(FrameType.RST_STREAM, 5, 8);
  const block = f.block(request("/etcdserverpb.KV/Put", ...GRPC));
  f.frame(FrameType.HEADERS, 0, 7, block.subarray(0, 5)).frame(FrameType.CONTINUATION, Flag.END_HEADERS, 7, block.subarray(5));
  f.frame(FrameType.DATA, Flag.PADDED | Flag.END_STREAM, 7, [2, 0, 0, 0, 0, 3, 10, 1, 98, 0, 0]);
  f.headers(9, [...request("/etcdserverpb.KV/Range"), "content-type", "application/json"], Flag.END_HEADERS).frame(
    FrameType.DATA,
    1,
    9,
    [123, 125],
  );
  f.headers(11, [...request("/etcdserverpb.KV/Range"), "content-type", "application/grpc-web-text"], Flag.END_HEADERS);
  f.frame(FrameType.DATA, 1, 11, [...Buffer.from("AAAAAAMKAWE=")]);
  f.settings([
    [1, 0],
    [4, 100],
  ])
    .headers(3, ["x-end", "1"])
    .words(FrameType.GOAWAY, 0, 0, 0);
  return f.take();
}

/** The answers of a server to requests 1 to 9, which the client has made before. */
function serverSession(): Uint8Array {
  const f = new Frames()
    .settings([[3, 100]])
    .frame(FrameType.SETTINGS, Flag.ACK, 0)
    .words(FrameType.WINDOW_UPDATE, 0, 1 << 20);
  for (const id of [1, 3, 5, 7]) {
    f.headers(id, [":status", "200", "content-type", "application/grpc", "x-id", String(id)], Flag.END_HEADERS);
    f.frame(FrameType.DATA, 0, id, [0, 0, 0, 0, 2, 24, id]).words(FrameType.WINDOW_UPDATE, id, 100);
  }
  f.headers(1, ["grpc-status", "0"]).words(FrameType.RST_STREAM, 3, 2).headers(5, ["grpc-status", "13", "grpc-message", "a%20b"]);
  f.ping(1)
    .settings([[5, 20_000]])
    .headers(7, ["grpc-status", "0"])
    .words(FrameType.GOAWAY, 0, 7, 0);
  return f.take();
}

/** One change of a session. */
type Mutation = { kind: "flip" | "set" | "insert" | "remove" | "repeat" | "swap"; at: number; length: number; value: number };
const mutation = fc.record<Mutation>({
  kind: fc.constantFrom("flip", "set", "insert", "remove", "repeat", "swap"),
  at: fc.nat(),
  length: fc.integer({ min: 1, max: 60 }),
  value: fc.integer({ min: 0, max: 255 }),
});

function mutate(bytes: Uint8Array, mutations: readonly Mutation[], from: number): Uint8Array {
  let all = [...bytes];
  for (const { kind, at: where, length, value } of mutations) {
    // The preface stays: without it there is nothing to see.
    const at = from + (where % Math.max(1, all.length - from));
    const piece = all.slice(at, at + length);
    if (kind === "flip") all[at]! ^= 1 << (value & 7);
    else if (kind === "set") all[at] = value;
    else if (kind === "insert") all.splice(at, 0, ...new Array(length).fill(value));
    else if (kind === "remove") all.splice(at, length);
    else if (kind === "repeat") all.splice(at, 0, ...piece, ...piece);
    else all = [...all.slice(0, from), ...all.slice(at), ...all.slice(from, at)];
  }
  return Uint8Array.from(all);
}

/** Whether a listener hears nothing more after its end. */
class Watched implements StreamListener {
  stream: Stream | undefined;
  ended = false;
  headers(_: readonly string[], end: boolean) {
    this.#more(end);
  }
  data(data: Uint8Array, end: boolean) {
    this.stream?.consume(data.length);
    this.#more(end);
  }
  failed() {
    this.failures++;
  }
  failures = 0;
  #more(end: boolean) {
    expect([this.ended, this.failures]).toEqual([false, 0]);
    this.ended = end;
  }
}

function check(connection: Connection): void {
  expect(connection.error?.code).not.toBe(ErrorCode.INTERNAL_ERROR);
  expect(connection.output.length).toBeLessThan(5 * 1024 * 1024);
  expect(connection.streams).toBeLessThanOrEqual(100);
  const { ended } = connection;
  connection.close(new Http2Error(ErrorCode.CONNECT_ERROR, "the socket has gone"));
  expect([connection.streams, connection.ended]).toEqual([0, true]);
  if (ended) expect(connection.canOpen).toBe(false);
}

const session = fc.tuple(fc.array(mutation, { minLength: 1, maxLength: 6 }), fc.array(fc.nat(), { maxLength: 6 }));
/** Types, flags and streams that make sense more often than not. */
const frames = fc.array(
  fc.tuple(
    fc.integer({ min: 0, max: 10 }),
    fc.constantFrom(0, 1, 4, 5, 8, 0xd, 0x20, 0x25, 0x2d),
    fc.constantFrom(0, 1, 3, 5, 7, 2, 9),
    fc.uint8Array({ maxLength: 64 }),
  ),
  { maxLength: 60 },
);

describe("a connection", () => {
  const server = () => {
    const connection = new Connection(
      "server",
      {
        wake() {},
        request(stream, _, end) {
          const watched = new Watched();
          watched.stream = stream;
          watched.ended = end;
          if (end && stream.id % 4 === 1) {
            stream.sendHeaders([":status", "200"]);
            stream.sendData(new Uint8Array(100));
            stream.sendHeaders(["grpc-status", "0"], true);
          }
          return watched;
        },
      },
      { maxConcurrentStreams: 100 },
    );
    return connection;
  };

  test("of a server lives through mutated sessions of clients", () => {
    const bytes = clientSession();
    const run = ([mutations, places]: [Mutation[], number[]]) => {
      const connection = server();
      for (const piece of cut(mutate(bytes, mutations, 24), places)) connection.receive(piece);
      check(connection);
    };
    fc.assert(fc.property(session, run), { numRuns: 1500 });
  });

  test("of a client lives through mutated sessions of servers", () => {
    const bytes = serverSession();
    const run = ([mutations, places]: [Mutation[], number[]]) => {
      const connection = new Connection("client", { wake() {} });
      const watched = Array.from({ length: 5 }, () => {
        const listener = new Watched();
        listener.stream = connection.request(request("/x"), true, listener);
        return listener;
      });
      for (const piece of cut(mutate(bytes, mutations, 0), places)) connection.receive(piece);
      check(connection);
      // Each request has one outcome.
      for (const { ended, failures } of watched) expect(failures).toBe(ended ? 0 : 1);
    };
    fc.assert(fc.property(session, run), { numRuns: 1500 });
  });

  for (const role of ["server", "client"] as const) {
    test(`of a ${role} lives through any frames`, () => {
      fc.assert(
        fc.property(frames, (list) => {
          const connection = role === "server" ? server() : new Connection("client", { wake() {} });
          if (role === "client") for (let i = 0; i < 4; i++) connection.request(request("/x"), i > 1, new Watched());
          const f = role === "server" ? new Frames().preface() : new Frames().settings();
          if (role === "server") f.headers(1, request("/x"), Flag.END_HEADERS);
          for (const [type, flags, id, payload] of list) f.frame(type, flags, id, payload);
          connection.receive(f.take());
          check(connection);
        }),
        { numRuns: 1500 },
      );
    });
  }

  test("decodes any header block or says COMPRESSION_ERROR", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (blocks) => {
        const decoder = new HpackDecoder(512, 2000);
        for (const block of blocks) {
          try {
            const { fields } = decoder.decode(block);
            expect(fields.length % 2).toBe(0);
            // Kept or not, it comes out the same.
            if (decoder.decode(block).fields === fields) expect(decoder.decode(block).fields).toEqual(fields);
          } catch (error) {
            expect((error as Http2Error).code).toBe(ErrorCode.COMPRESSION_ERROR);
            return;
          }
        }
      }),
      { numRuns: 1500 },
    );
  });
});

describe("a server of gRPC on a socket", () => {
  let listener: RpcListener;
  let port: number;
  let running = 0;
  beforeAll(async () => {
    listener = await createRpcServer({
      services: [
        service(KV, { range: ({ key }) => ({ count: BigInt(key.length) }), put: rawUnary((bytes) => bytes) }),
        service(Watch, {
          watch: raw((call) => {
            running++;
            return {
              message: (bytes) => void call.send(bytes),
              requestsEnd() {
                running--;
                call.end();
              },
              canceled: () => void running--,
            };
          }),
        }),
      ],
      limits: { handshakeTimeout: 500 },
    }).listen({ host: "127.0.0.1", port: 0 });
    port = (listener.address as { port: number }).port;
  });
  afterAll(() => listener.close());

  test("answers a good client after any number of bad ones, and keeps nothing of them", async () => {
    const bytes = clientSession();
    using channel = connect(listener.address);
    const client = createClient(KV, channel);
    const play = async ([mutations, places]: [Mutation[], number[]]) => {
      const peer = await RawPeer.connect(port);
      for (const piece of cut(mutate(bytes, mutations, 24), places)) peer.write(piece);
      if (places.length % 2) peer.end();
      else peer.finish();
      expect((await client.range({ key: new Uint8Array(5) })).count).toBe(5n);
    };
    await fc.assert(fc.asyncProperty(session, play), { numRuns: 100 });
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    await fc.assert(fc.asyncProperty(session, play), { numRuns: 400 });
    while (running > 0) await Bun.sleep(1);
    Bun.gc(true);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  }, 30_000);
});

describe("a client of gRPC on a socket", () => {
  test("ends every call, whatever a server answers, and finds a good one again", async () => {
    const bytes = serverSession();
    let answer = bytes;
    const server = Bun.listen<unknown>({
      hostname: "127.0.0.1",
      port: 0,
      socket: { binaryType: "uint8array", data() {}, open: (socket) => void socket.end(answer) },
    });
    const play = async ([mutations]: [Mutation[], number[]]) => {
      answer = mutate(bytes, mutations, 0);
      using channel = connect({ host: "127.0.0.1", port: server.port }, { connectTimeout: 300 });
      const client = createClient(KV, channel);
      const calls = Array.from({ length: 4 }, () =>
        client.range({}, { timeout: 300 }).then(
          () => "OK",
          (error) => error.name,
        ),
      );
      for (const outcome of await Promise.all(calls)) expect(["OK", "RpcError"]).toContain(outcome);
    };
    await fc.assert(fc.asyncProperty(session, play), { numRuns: 200 });
    server.stop(true);
  }, 60_000);
});
