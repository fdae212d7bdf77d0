// What a client does with what a server may and may not send, by section of
// RFC 9113, over real sockets; and what becomes of a call of gRPC then.
import { describe, expect, test } from "bun:test";
import { connect, createClient } from "../client.ts";
import { KV } from "../gen/etcd/rpc_pb.ts";
import { ErrorCode, Flag, type Frames, FrameType, RawPeer, Setting } from "../testing/raw-http2.ts";
import { Code, type RpcError } from "../types.ts";

const { DATA, HEADERS, SETTINGS, RST_STREAM, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, PRIORITY } = FrameType;
const HEAD = [":status", "200", "content-type", "application/grpc"];
const { END_HEADERS, END_STREAM, PADDED } = Flag;
const answer = (f: Frames, id = 1) =>
  f.headers(id, HEAD, END_HEADERS).frame(DATA, 0, id, [0, 0, 0, 0, 0]).headers(id, ["grpc-status", "0"]);

/**
 * One unary call to a server that sends what `build` makes when it has come:
 * how it ended, and what the client said of it.
 */
async function call(build: (f: Frames, peer: RawPeer) => void, options: { settings?: [number, number][]; timeout?: number } = {}) {
  const peers: RawPeer[] = [];
  const open: RawPeer["handler"]["open"] = (socket) => {
    const peer = new RawPeer(true);
    peers.push(peer);
    socket.data = peer;
    peer.handler.open(socket);
    peer.send((f) => f.settings(options.settings));
    peer.onFrame = (type, flags) => {
      if (type === DATA && flags & END_STREAM && peers.length === 1) peer.send((f) => build(f, peer));
      else if (type === DATA && flags & END_STREAM) peer.send((f) => answer(f));
    };
  };
  const of = (socket: { data: unknown }) => (socket.data as RawPeer).handler;
  const server = Bun.listen<unknown>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      binaryType: "uint8array",
      open,
      data: (socket, chunk: Uint8Array) => of(socket).data(socket, chunk),
      drain: (socket) => of(socket).drain(),
      close: (socket) => of(socket).close(),
      error: (socket) => of(socket).error(),
    },
  });
  using channel = connect({ host: "127.0.0.1", port: server.port });
  const result = await createClient(KV, channel)
    .range({}, { timeout: options.timeout ?? 10_000 })
    .then(
      () => "OK",
      (error: RpcError) => Code[error.code]!,
    );
  const peer = peers[0]!;
  if (!peer.closed && channel.state === "ready" && peers.length === 1) await peer.settled();
  else await peer.until(() => peer.closed, 5000).catch(() => {});
  server.stop(true);
  const said = peer.lines.filter((line) => /^(GOAWAY|RST_STREAM)/.test(line));
  return [result, ...said];
}

const WRONG = ["Unavailable", "GOAWAY PROTOCOL_ERROR"];
const SIZE = ["Unavailable", "GOAWAY FRAME_SIZE_ERROR"];
const stream = (code: string) => ["Internal", `RST_STREAM 1 ${code}`];

const ROWS: [section: string, what: string, build: (f: Frames, peer: RawPeer) => void, outcome: string[]][] = [
  ["3.4", "an answer", (f) => answer(f), ["OK"]],
  ["4.1", "an unknown frame before the answer", (f) => answer(f.frame(0x55, 1, 1, [1])), ["OK"]],
  ["4.2", "a frame over the largest size", (f) => f.headers(1, HEAD, END_HEADERS).data(1, 65_537), SIZE],
  ["4.3", "a header block that is no HPACK", (f) => f.frame(HEADERS, 4, 1, [0x80]), ["Unavailable", "GOAWAY COMPRESSION_ERROR"]],
  ["4.3", "another frame within a header block", (f) => f.headers(1, HEAD, 0).ping(1), WRONG],
  [
    "4.3",
    "CONTINUATION",
    (f) => {
      const block = f.block(HEAD);
      f.frame(HEADERS, 0, 1, block.subarray(0, 3))
        .frame(CONTINUATION, 4, 1, block.subarray(3))
        .frame(DATA, 0, 1, [0, 0, 0, 0, 0])
        .headers(1, ["grpc-status", "0"]);
    },
    ["OK"],
  ],
  ["5.1", "DATA before the head", (f) => f.data(1, 5), stream("PROTOCOL_ERROR")],
  ["5.1", "HEADERS of a stream that was never opened", (f) => f.headers(5, HEAD), WRONG],
  ["5.1", "DATA of a stream of the server's", (f) => f.data(2, 1), WRONG],
  ["5.1", "PRIORITY is ignored", (f) => answer(f.frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1])), ["OK"]],
  ["5.1", "DATA after the end", (f) => answer(f).data(1, 1), ["OK", "GOAWAY STREAM_CLOSED"]],
  ["5.1", "HEADERS after the end", (f) => answer(f).headers(1, HEAD), ["OK", "GOAWAY STREAM_CLOSED"]],
  ["5.4.2", "RST_STREAM with NO_ERROR after the answer", (f) => answer(f).words(RST_STREAM, 1, ErrorCode.NO_ERROR), ["OK"]],
  [
    "6.1",
    "padding",
    (f) => f.headers(1, HEAD, END_HEADERS).frame(DATA, PADDED, 1, [2, 0, 0, 0, 0, 0, 9, 9]).headers(1, ["grpc-status", "0"]),
    ["OK"],
  ],
  ["6.4", "RST_STREAM with INTERNAL_ERROR", (f) => f.words(RST_STREAM, 1, ErrorCode.INTERNAL_ERROR), ["Internal"]],
  ["6.4", "RST_STREAM with CANCEL", (f) => f.words(RST_STREAM, 1, ErrorCode.CANCEL), ["Canceled"]],
  ["6.4", "RST_STREAM with ENHANCE_YOUR_CALM", (f) => f.words(RST_STREAM, 1, ErrorCode.ENHANCE_YOUR_CALM), ["ResourceExhausted"]],
  ["6.4", "RST_STREAM with INADEQUATE_SECURITY", (f) => f.words(RST_STREAM, 1, ErrorCode.INADEQUATE_SECURITY), ["PermissionDenied"]],
  ["6.5.2", "ENABLE_PUSH of a server", (f) => f.settings([[Setting.ENABLE_PUSH, 1]]), WRONG],
  ["6.6", "PUSH_PROMISE", (f) => f.frame(PUSH_PROMISE, 4, 1, [0, 0, 0, 2]), WRONG],
  ["6.7", "PING of 7 bytes", (f) => f.frame(PING, 0, 0, new Uint8Array(7)), SIZE],
  ["6.8", "GOAWAY that leaves the call out: it is made again elsewhere", (f) => f.words(GOAWAY, 0, 0, ErrorCode.NO_ERROR), ["OK"]],
  ["6.8", "GOAWAY behind the call, and its answer", (f) => answer(f.words(GOAWAY, 0, 1, ErrorCode.NO_ERROR)), ["OK"]],
  [
    "6.8",
    "GOAWAY behind the call, and the end",
    (f, peer) => {
      peer.write(f.words(GOAWAY, 0, 1, ErrorCode.INTERNAL_ERROR).take());
      peer.finish();
    },
    ["Unavailable"],
  ],
  ["6.9", "WINDOW_UPDATE of 0", (f) => f.words(WINDOW_UPDATE, 1, 0), stream("PROTOCOL_ERROR")],
  ["6.9.1", "a window over 2^31-1", (f) => f.words(WINDOW_UPDATE, 0, 0x7fffffff), ["Unavailable", "GOAWAY FLOW_CONTROL_ERROR"]],
  ["8.1", "interim answers before the answer", (f) => answer(f.headers(1, [":status", "103"], END_HEADERS)), ["OK"]],
  [
    "8.1.1",
    "a body that is not as long as it says",
    (f) =>
      f
        .headers(1, [...HEAD, "content-length", "9"], END_HEADERS)
        .data(1, 5)
        .headers(1, ["grpc-status", "0"]),
    stream("PROTOCOL_ERROR"),
  ],
  ["8.3.2", "an answer without :status", (f) => f.headers(1, ["content-type", "application/grpc"], END_HEADERS), stream("PROTOCOL_ERROR")],
  ["8.3.2", "an answer with :path", (f) => f.headers(1, [...HEAD, ":path", "/"], END_HEADERS), stream("PROTOCOL_ERROR")],
  ["8.6", "101", (f) => f.headers(1, [":status", "101"], END_HEADERS), stream("PROTOCOL_ERROR")],
  [
    "8.7",
    "REFUSED_STREAM: the call is made again",
    (f, peer) => {
      f.words(RST_STREAM, 1, ErrorCode.REFUSED_STREAM);
      peer.onFrame = (type, flags) => {
        if (type === DATA && flags & END_STREAM) peer.send((g) => answer(g, 3));
      };
    },
    ["OK"],
  ],
  ["gRPC", "trailers alone", (f) => f.headers(1, [...HEAD, "grpc-status", "5"]), ["NotFound"]],
  ["gRPC", "no grpc-status", (f) => f.headers(1, HEAD, END_HEADERS).headers(1, ["x", "1"]), ["Unknown"]],
  ["gRPC", "a code that is none", (f) => f.headers(1, [...HEAD, "grpc-status", "99"]), ["Unknown"]],
  ["gRPC", "the end without trailers", (f) => f.headers(1, HEAD, END_HEADERS).data(1, 0, true), ["Internal"]],
  ["gRPC", "503", (f) => f.headers(1, [":status", "503"]), ["Unavailable"]],
  [
    "gRPC",
    "401 of a proxy",
    (f) => f.headers(1, [":status", "401", "content-type", "text/html"], END_HEADERS).data(1, 9, true),
    ["Unauthenticated", "RST_STREAM 1 NO_ERROR"],
  ],
  [
    "gRPC",
    "a message that is no protobuf",
    (f) => f.headers(1, HEAD, END_HEADERS).frame(DATA, 0, 1, [0, 0, 0, 0, 1, 0xff]).headers(1, ["grpc-status", "0"]),
    ["Internal", "RST_STREAM 1 CANCEL"],
  ],
  [
    "gRPC",
    "a compressed message without grpc-encoding",
    (f) => f.headers(1, HEAD, END_HEADERS).frame(DATA, 0, 1, [1, 0, 0, 0, 0]),
    ["Internal", "RST_STREAM 1 CANCEL"],
  ],
];

describe("a client", () => {
  for (const [section, what, build, expected] of ROWS) {
    test(`${section}: ${what}`, async () => {
      expect(await call(build)).toEqual(expected);
    });
  }

  test("10.5.1: does not send more header fields than the server takes", async () => {
    expect(await call(() => {}, { settings: [[Setting.MAX_HEADER_LIST_SIZE, 100]] })).toEqual(["Internal"]);
  });
});

describe("a call whose connection is lost is Unavailable, wherever it was", () => {
  const moments: [string, (f: Frames, peer: RawPeer) => void][] = [
    ["before the head", (_, peer) => peer.finish()],
    ["after the head", (f, peer) => void peer.write(f.headers(1, HEAD, END_HEADERS).take()).finish()],
    ["within a message", (f, peer) => void peer.write(f.headers(1, HEAD, END_HEADERS).data(1, 3).take()).finish()],
    ["within a frame", (f, peer) => void peer.write(f.headers(1, HEAD, END_HEADERS).data(1, 100).take().subarray(0, 60)).finish()],
    [
      "before the trailers",
      (f, peer) => void peer.write(f.headers(1, HEAD, END_HEADERS).frame(DATA, 0, 1, [0, 0, 0, 0, 0]).take()).finish(),
    ],
    ["with a reset of TCP", (_, peer) => peer.end()],
    ["with garbage", (f) => void f.frame(SETTINGS, 0, 0, [1, 2, 3])],
  ];
  for (const [what, build] of moments) test(what, async () => expect((await call(build))[0]).toBe("Unavailable"));
});
