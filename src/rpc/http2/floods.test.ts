// The attacks that HTTP/2 servers fell to, each against a real socket: the
// peer is sent away or gets errors, a well-behaved one goes on, and memory stays.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect as dial } from "node:net";
import { ErrorCode, Flag, Frames, FrameType, RawPeer, Setting } from "../testing/raw-http2.ts";
import { type Http2Listener, listen } from "./server.ts";

const request = (path = "/") => [":method", "POST", ":scheme", "http", ":path", path, ":authority", "a"];
const { DATA, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, PING } = FrameType;

let listener: Http2Listener;
let port: number;
let running = 0;
let most = 0;
const serve = (limits = {}, options = {}) =>
  listen(
    { host: "127.0.0.1", port: 0 },
    {
      ...options,
      limits,
      request(stream, fields, end) {
        most = Math.max(most, ++running);
        const size = Number(fields[fields.indexOf(":path") + 1]!.slice(1));
        if (end && size > 0) {
          stream.sendHeaders([":status", "200"]);
          stream.sendData(new Uint8Array(size), true);
          running--;
          return { headers() {}, data() {}, failed() {} };
        }
        return { headers() {}, data: (chunk) => stream.consume(chunk.length), failed: () => void running-- };
      },
    },
  );
beforeAll(async () => {
  listener = await serve({}, { pings: { minInterval: 60_000 } });
  port = (listener.address as { port: number }).port;
});
afterAll(() => listener.close());

const CALM = "GOAWAY ENHANCE_YOUR_CALM";
const literal = (name: string, value: string, flags = 0) => [flags, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value)];

const ENDED: [cve: string, what: string, build: (f: Frames) => void, last?: string][] = [
  [
    "CVE-2023-44487",
    "rapid reset",
    (f) => f.times(20_000, (i) => f.headers(1 + 2 * i, request(), Flag.END_HEADERS).words(RST_STREAM, 1 + 2 * i, ErrorCode.CANCEL)),
  ],
  [
    "CVE-2025-8671",
    "resets that the server is made to send",
    (f) => f.times(20_000, (i) => f.headers(1 + 2 * i, request(), Flag.END_HEADERS).words(WINDOW_UPDATE, 1 + 2 * i, 0)),
  ],
  ["CVE-2019-9514", "resets for malformed requests", (f) => f.times(20_000, (i) => f.headers(1 + 2 * i, [":method", "GET"]))],
  [
    "CVE-2024-27316",
    "CONTINUATION without end",
    (f) => f.frame(HEADERS, 0, 1, f.block(request())).times(100_000, () => f.frame(CONTINUATION, 0, 1, literal("a", "b"))),
  ],
  [
    "CVE-2024-27316",
    "large CONTINUATION without end",
    (f) => f.frame(HEADERS, 0, 1, f.block(request())).times(100, () => f.frame(CONTINUATION, 0, 1, new Uint8Array(60_000))),
  ],
  [
    "CVE-2019-9518",
    "empty CONTINUATION",
    (f) => f.frame(HEADERS, 0, 1, f.block(request())).times(20_000, () => f.frame(CONTINUATION, 0, 1)),
  ],
  ["CVE-2019-9518", "empty DATA", (f) => f.headers(1, request(), Flag.END_HEADERS).times(20_000, () => f.frame(DATA, 0, 1))],
  [
    "CVE-2019-9518",
    "DATA of nothing but padding",
    (f) => f.headers(1, request(), Flag.END_HEADERS).times(20_000, () => f.frame(DATA, Flag.PADDED, 1, [0])),
  ],
  ["CVE-2019-9515", "SETTINGS", (f) => f.times(20_000, () => f.settings())],
  ["CVE-2019-9515", "changes of windows", (f) => f.times(20_000, (i) => f.settings([[Setting.INITIAL_WINDOW_SIZE, i]]))],
  ["CVE-2019-9512", "PING", (f) => f.times(10, () => f.ping(1)), `${CALM} too_many_pings`],
  ["CVE-2019-9513", "PRIORITY", (f) => f.times(20_000, (i) => f.frame(PRIORITY, 0, 1 + 2 * (i % 100), [0, 0, 0, 0, 1]))],
  [
    "CVE-2019-9511",
    "windows of one byte",
    (f) =>
      f
        .settings([[Setting.INITIAL_WINDOW_SIZE, 0]])
        .headers(1, request("/100000"))
        .times(20_000, () => f.words(WINDOW_UPDATE, 1, 1)),
  ],
  [
    "CVE-2019-9516",
    "header names of no length",
    (f) => f.times(20_000, (i) => f.frame(HEADERS, 5, 1 + 2 * i, [...f.block(request()), ...literal("", "")])),
  ],
  ["", "frames of unknown types", (f) => f.times(20_000, () => f.frame(0x77, 0, 0))],
  [
    "",
    "DATA for a stream that was reset",
    (f) =>
      f
        .headers(1, request(), Flag.END_HEADERS)
        .words(RST_STREAM, 1, 8)
        .times(20_000, () => f.data(1, 1)),
  ],
];

describe("a server sends away who sends too many", () => {
  for (const [cve, what, build, last = CALM] of ENDED) {
    test(`${what}${cve && ` (${cve})`}`, async () => {
      const peer = await RawPeer.connect(port);
      peer.send((f) => f.preface()).send(build);
      await peer.until(() => peer.lines.at(-1)?.startsWith("GOAWAY") === true);
      expect(peer.lines.at(-1)).toBe(last);
      await peer.until(() => peer.closed);
    });
  }

  test("PINGs whose answers it does not read (CVE-2019-9512)", async () => {
    const open = await serve({ lingerTimeout: 50 });
    const socket = dial({ host: "127.0.0.1", port: (open.address as { port: number }).port });
    const gone = new Promise<void>((resolve) => socket.on("close", () => resolve()).on("error", () => resolve()));
    const frames = new Frames();
    socket.write(frames.preface().take());
    const more = frames.times(20_000, () => frames.ping(1)).take();
    const go = () => {
      while (socket.write(more));
      socket.once("drain", go);
    };
    go();
    await gone;
    socket.destroy();
    await open.close();
  });
});

test("a list of small references to a large field stays within the limit of lists (HPACK bomb)", async () => {
  const peer = await RawPeer.connect(port);
  const before = process.memoryUsage.rss();
  peer.send((f) => {
    f.preface();
    // One field of 4 000 bytes goes into the table; then 60 000 references to it, 240 MB when written out.
    f.frame(HEADERS, 5, 1, [...f.block(request()).map((b) => b), 0x40, 1, 0x78, 0x7f, 0xa1, 0x1e, ...new Uint8Array(4000).fill(0x79)]);
    f.times(50, (i) => f.frame(HEADERS, 5, 3 + 2 * i, new Uint8Array(60_000).fill(0x80 | 62)));
  });
  await peer.settled();
  expect(peer.lines.filter((line) => line.endsWith("431")).length).toBe(50);
  expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
  peer.end();
});

test("streams that are reset leave nothing behind, and never more than the limit run", async () => {
  while (running > 0) await Bun.sleep(1);
  most = 0;
  const peer = await RawPeer.connect(port);
  peer.send((f) => f.preface().times(1500, (i) => f.headers(1 + 2 * i, request(), Flag.END_HEADERS)));
  await peer.settled();
  expect(peer.lines.filter((line) => line.endsWith("REFUSED_STREAM")).length).toBe(500);
  expect([running, most]).toEqual([1000, 1000]);
  peer.end();
  while (running > 0) await Bun.sleep(1);
  const other = await RawPeer.connect(port);
  await other.send((f) => f.preface().headers(1, request("/5"))).settled();
  expect(other.lines).toContain("DATA 1 END_STREAM");
  other.end();
});

describe("a server with limits", () => {
  const end = async (limits: object, build: (f: Frames) => void, preface = true) => {
    const limited = await serve(limits);
    const peer = await RawPeer.connect((limited.address as { port: number }).port);
    if (preface) peer.send((f) => f.preface());
    peer.send(build);
    peer.onFrame = (type, flags) => {
      // A client that hears that it should go says so.
      if (type === PING && !(flags & Flag.ACK)) peer.send((f) => f.frame(PING, Flag.ACK, 0, [1, 0, 0, 0, 0, 0, 0, 1]));
    };
    await peer.until(() => peer.closed);
    await limited.close();
    return peer.lines.filter((line) => line.startsWith("GOAWAY"));
  };

  test("ends a connection that never says a word", async () => {
    expect(await end({ handshakeTimeout: 50 }, () => {}, false)).toEqual([]);
  });

  test("drains one that is idle, with a warning first", async () => {
    expect(await end({ maxIdle: 500 }, (f) => f.headers(1, request("/5")))).toEqual(["GOAWAY NO_ERROR", "GOAWAY NO_ERROR"]);
  });

  test("drains an old one and cuts it off after a grace", async () => {
    expect(await end({ maxAge: 500, maxAgeGrace: 1000 }, (f) => f.headers(1, request("/hold")))).toEqual([
      "GOAWAY NO_ERROR",
      "GOAWAY NO_ERROR",
    ]);
  });

  test("ends one that asks for answers and opens no window (CVE-2019-9517)", async () => {
    const limits = { stallBytes: 1_000_000, stallTimeout: 50 };
    await end(limits, (f) => f.settings([[Setting.INITIAL_WINDOW_SIZE, 0]]).times(20, (i) => f.headers(1 + 2 * i, request("/100000"))));
  });
});
