// What a server does with what a client may and may not send, by section of
// RFC 9113 (and 7541), over real sockets: a row a case.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ErrorCode, type Frames, FrameType, RawPeer, Setting } from "../testing/raw-http2.ts";
import { ROWS, request } from "./conformance.cases.ts";
import { type Http2Listener, listen } from "./server.ts";

const { WINDOW_UPDATE, GOAWAY } = FrameType;

let listener: Http2Listener;
let port: number;
beforeAll(async () => {
  // "/hold" waits, "/<number>" answers with so many bytes, all else at once with nothing.
  listener = await listen(
    { host: "127.0.0.1", port: 0 },
    {
      maxConcurrentStreams: 10,
      streamWindow: 100_000,
      maxHeaderListSize: 16_384,
      request(stream, fields, end) {
        const path = fields[fields.indexOf(":path") + 1]!;
        const answer = () => {
          if (path === "/hold") return;
          stream.sendHeaders([":status", "200"]);
          stream.sendData(new Uint8Array(Number(path.slice(1)) || 0), true);
        };
        if (end) answer();
        return {
          headers: (_, last) => last && answer(),
          data: (chunk, last) => {
            if (path !== "/full") stream.consume(chunk.length);
            if (last) answer();
          },
          failed() {},
        };
      },
    },
  );
  port = (listener.address as { port: number }).port;
});
afterAll(() => listener.close());

/** What came back but for the greeting; "closed" at the end of a connection. */
async function outcome(build: (frames: Frames) => void, settings: [number, number][] = []): Promise<string[]> {
  const peer = await RawPeer.connect(port);
  peer.send((frames) => frames.preface(settings)).send(build);
  await peer.settled();
  const lines = peer.lines.filter((line) => !/^(SETTINGS|SETTINGS ACK|PONG \d+)$/.test(line));
  if (peer.closed) lines.push("closed");
  peer.end();
  return lines;
}

describe("a server", () => {
  for (const [section, what, build, expected, settings] of ROWS) {
    test(`${section}: ${what}`, async () => {
      expect(await outcome(build, settings)).toEqual(expected);
    });
  }
});

const greet = async (settings: [number, number][] = []) => (await RawPeer.connect(port)).send((f) => f.preface(settings)).settled();

describe("flow control of a server", () => {
  test("6.9: data waits for the stream's window, however small", async () => {
    const peer = await greet([[Setting.INITIAL_WINDOW_SIZE, 10]]);
    await peer.send((f) => f.headers(1, request("/1000"))).settled();
    expect(peer.received.get(1)).toBe(10);
    await peer.send((f) => f.words(WINDOW_UPDATE, 1, 5)).settled();
    expect(peer.received.get(1)).toBe(15);
    await peer.send((f) => f.words(WINDOW_UPDATE, 1, 985)).settled();
    expect([peer.received.get(1), peer.lines.at(-2)]).toEqual([1000, "DATA 1 END_STREAM"]);
    peer.end();
  });

  test("6.9.2: a change of INITIAL_WINDOW_SIZE moves open streams, below zero too", async () => {
    const peer = await greet([[Setting.INITIAL_WINDOW_SIZE, 100]]);
    await peer.send((f) => f.headers(1, request("/1000"))).settled();
    expect(peer.received.get(1)).toBe(100);
    await peer.send((f) => f.settings([[Setting.INITIAL_WINDOW_SIZE, 20]]).words(WINDOW_UPDATE, 1, 80)).settled();
    expect(peer.received.get(1)).toBe(100);
    await peer.send((f) => f.words(WINDOW_UPDATE, 1, 1)).settled();
    expect(peer.received.get(1)).toBe(101);
    await peer.send((f) => f.settings([[Setting.INITIAL_WINDOW_SIZE, 5000]])).settled();
    expect(peer.received.get(1)).toBe(1000);
    await peer.send((f) => f.headers(3, request("/4000"))).settled();
    expect(peer.received.get(3)).toBe(4000);
    peer.end();
  });

  test("6.9.1: all streams share the connection's window, and none starves", async () => {
    const peer = await greet([[Setting.INITIAL_WINDOW_SIZE, 1_000_000]]);
    await peer.send((f) => f.headers(1, request("/60000")).headers(3, request("/60000")).headers(5, request("/60000"))).settled();
    const sum = () => [...peer.received.values()].reduce((a, b) => a + b, 0);
    expect(sum()).toBe(65_535);
    await peer.send((f) => f.words(WINDOW_UPDATE, 0, 60_000)).settled();
    expect(sum()).toBe(125_535);
    expect(peer.received.get(5)).toBeGreaterThan(0);
    await peer.send((f) => f.words(WINDOW_UPDATE, 0, 60_000)).settled();
    expect([1, 3, 5].map((id) => peer.received.get(id))).toEqual([60_000, 60_000, 60_000]);
    peer.end();
  });

  test("6.5.2: frames are as large as MAX_FRAME_SIZE allows, from the moment it does", async () => {
    const peer = new RawPeer();
    const sizes: number[] = [];
    peer.onData = (_, length) => void sizes.push(length);
    await Bun.connect({ hostname: "127.0.0.1", port, socket: peer.handler });
    await peer.send((f) => f.preface([[Setting.INITIAL_WINDOW_SIZE, 1 << 20]]).words(WINDOW_UPDATE, 0, 1 << 20)).settled();
    await peer.send((f) => f.headers(1, request("/100000"))).settled();
    expect(Math.max(...sizes.splice(0))).toBe(16_384);
    await peer.send((f) => f.settings([[Setting.MAX_FRAME_SIZE, 50_000]]).headers(3, request("/100000"))).settled();
    expect(Math.max(...sizes)).toBe(50_000);
    peer.end();
  });

  test("7541 4.2: HEADER_TABLE_SIZE may change at any time, and the next block says so", async () => {
    const peer = await greet();
    const ask = (id: number) => peer.send((f) => f.headers(id, request())).settled();
    await ask(1);
    const blocks = peer.blocks.length;
    for (const [size, first] of [
      [0, 0x20],
      [4096, 0x3f],
      [100, 0x3f],
    ] as const) {
      await peer.send((f) => f.settings([[Setting.HEADER_TABLE_SIZE, size]])).settled();
      await ask(1 + 2 * (peer.blocks.length - blocks + 1));
      expect(peer.blocks.at(-1)![0]).toBe(first);
    }
    await peer
      .send((f) =>
        f
          .settings([
            [1, 0],
            [1, 4096],
          ])
          .headers(11, request()),
      )
      .settled();
    expect([...peer.blocks.at(-1)!.subarray(0, 4)]).toEqual([0x20, 0x3f, 0xe1, 0x1f]);
    expect(peer.lines.filter((line) => line.startsWith("HEADERS"))).toEqual([1, 3, 5, 7, 11].map((id) => `HEADERS ${id} 200`));
    peer.end();
  });

  test("6.8: GOAWAY of an idle client ends the connection", async () => {
    const peer = await greet();
    peer.send((f) => f.words(GOAWAY, 0, 0, ErrorCode.NO_ERROR));
    await peer.until(() => peer.closed);
  });

  test("3.4: anything but a preface is sent away", async () => {
    for (const text of ["PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00"]) {
      const peer = await RawPeer.connect(port);
      peer.write(new TextEncoder().encode(text));
      await peer.until(() => peer.closed);
      expect(peer.lines).toEqual(["SETTINGS", "GOAWAY PROTOCOL_ERROR"]);
    }
  });
});
