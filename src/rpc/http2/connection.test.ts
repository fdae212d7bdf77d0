import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { cut } from "../testing/cut.ts";
import { Connection } from "./connection.ts";
import { ErrorCode } from "./errors.ts";
import { Flag, FrameReader, FrameType, frameHeader, PREFACE, Setting, settingsFrame, wordFrame } from "./frame.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import type { ConnectionOptions } from "./options.ts";
import { Output } from "./output.ts";
import type { Stream, StreamFailure, StreamListener } from "./stream.ts";
import { IDS_END } from "./streams.ts";

const GET = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"];

/** Writes down what happens on a stream. */
class Recorder implements StreamListener {
  readonly sections: (readonly string[])[] = [];
  readonly chunks: Uint8Array[] = [];
  ended = false;
  failure: StreamFailure | undefined;
  drains = 0;
  stream: Stream | undefined;
  consume = true;
  onEnd?: () => void;
  headers(fields: readonly string[], end: boolean) {
    this.sections.push(fields);
    this.#end(end);
  }
  data(data: Uint8Array, end: boolean) {
    this.chunks.push(data.slice());
    if (this.consume) this.stream?.consume(data.length);
    this.#end(end);
  }
  #end(end: boolean) {
    if (!end) return;
    expect(this.ended).toBe(false);
    this.ended = true;
    this.onEnd?.();
  }
  drain() {
    this.drains++;
  }
  failed(failure: StreamFailure) {
    this.failure = failure;
  }
  get bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.chunks));
  }
}

/** A client and a server joined in memory. */
function pair(options: { client?: ConnectionOptions; server?: ConnectionOptions } = {}) {
  const requests: { stream: Stream; fields: readonly string[]; got: Recorder }[] = [];
  let onRequest: (request: (typeof requests)[number]) => void = () => {};
  const client = new Connection("client", { wake() {} }, options.client);
  const server = new Connection(
    "server",
    {
      wake() {},
      request(stream, fields, end) {
        const got = new Recorder();
        got.stream = stream;
        got.ended = end;
        const request = { stream, fields, got };
        requests.push(request);
        onRequest(request);
        return got;
      },
    },
    options.server,
  );
  /** Carries bytes to and fro, cut by the numbers, until both are quiet. */
  const run = (places: number[] = [], limit = Number.POSITIVE_INFINITY) => {
    for (let moved = true; moved; ) {
      moved = false;
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        const count = Math.min(limit, from.output.length);
        if (count === 0) continue;
        moved = true;
        const bytes = from.output.bytes.slice(from.output.start, from.output.start + count);
        from.taken(count);
        for (const piece of cut(bytes, places)) to.receive(piece);
      }
    }
  };
  const request = (fields = GET, end = true) => {
    const got = new Recorder();
    got.stream = client.request(fields, end, got);
    return got;
  };
  run();
  return { client, server, requests, run, request, onRequest: (f: typeof onRequest) => (onRequest = f) };
}

/** What a peer that is no good sends, as frames. */
function raw(build: (out: Output) => void, preface = true): Uint8Array {
  const out = new Output();
  if (preface) {
    out.append(PREFACE);
    settingsFrame(out, []);
  }
  build(out);
  return out.bytes.slice(out.start, out.end);
}

function serverThatGets(bytes: Uint8Array, options?: ConnectionOptions) {
  const failures: number[] = [];
  const server = new Connection(
    "server",
    { wake() {}, request: () => ({ headers() {}, data() {}, failed: ({ error }) => failures.push(error.code) }) },
    options,
  );
  server.receive(bytes);
  return { server, failures };
}

const frame = (out: Output, type: number, flags: number, stream: number, payload = new Uint8Array(0)) => {
  frameHeader(out, payload.length, type, flags, stream);
  out.append(payload);
};

const headers = (out: Output, stream: number, fields: string[], flags: number, encoder = new HpackEncoder()) => {
  const block = new Output();
  encoder.encode(fields, block);
  frameHeader(out, block.length, FrameType.HEADERS, flags, stream);
  out.append(block.bytes.subarray(block.start, block.end));
};

describe("a request", () => {
  test("gets its answer, with trailers", () => {
    const { requests, run, request } = pair();
    const got = request([...GET, "x-a", "1"]);
    run();
    expect(requests[0]!.fields).toEqual([...GET, "x-a", "1"]);
    const { stream } = requests[0]!;
    stream.sendHeaders([":status", "200"]);
    stream.sendData(new TextEncoder().encode("hello"), false, new TextEncoder().encode("> "));
    stream.sendHeaders(["grpc-status", "0"], true);
    run();
    expect(got.sections).toEqual([
      [":status", "200"],
      ["grpc-status", "0"],
    ]);
    expect(new TextDecoder().decode(got.bytes)).toBe("> hello");
    expect(got.ended).toBe(true);
  });

  test("carries any amount of data both ways through any windows, however bytes are cut", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 4 });
    const places = fc.array(fc.nat(), { maxLength: 12 });
    fc.assert(
      fc.property(sizes, sizes, places, fc.integer({ min: 65535, max: 400_000 }), (up, down, at, window) => {
        const options = { streamWindow: window, connectionWindow: window * 2 };
        const { requests, run, request, onRequest, client, server } = pair({ client: options, server: options });
        onRequest(({ stream, got }) => {
          got.onEnd = () => {
            stream.sendHeaders([":status", "200"]);
            down.forEach((size, i) => void stream.sendData(new Uint8Array(size).fill(i + 1)));
            stream.sendHeaders(["x-end", "1"], true);
          };
        });
        const streams = up.map((size, i) => {
          const got = request(GET, false);
          got.stream!.sendData(new Uint8Array(size).fill(i + 1));
          got.stream!.end();
          return got;
        });
        run(at, 100_000);
        up.forEach((size, i) => {
          expect(requests[i]!.got.bytes).toEqual(new Uint8Array(size).fill(i + 1));
          expect(streams[i]!.bytes).toEqual(new Uint8Array(Buffer.concat(down.map((n, k) => new Uint8Array(n).fill(k + 1)))));
          expect(streams[i]!.sections[1]).toEqual(["x-end", "1"]);
          expect(streams[i]!.ended).toBe(true);
        });
        expect([client.streams, server.streams, client.ended, server.ended]).toEqual([0, 0, false, false]);
      }),
      { numRuns: 60 },
    );
  });

  test("with headers larger than a frame goes in CONTINUATION frames", () => {
    const { requests, run, request } = pair();
    const large = Array.from({ length: 8 }, (_, i) => [`x-${i}`, String(i).repeat(5000)]).flat();
    request([...GET, ...large]);
    run([1, 100, 10_000, 17_000]);
    expect(requests[0]!.fields.slice(GET.length)).toEqual(large);
  });

  test("waits in its queue until the reader consumes, and tells when all is sent", () => {
    const { requests, run, request } = pair({ server: { streamWindow: 65535 } });
    const got = request(GET, false);
    run();
    requests[0]!.got.consume = false;
    expect(got.stream!.sendData(new Uint8Array(200_000))).toBe(false);
    run();
    expect(requests[0]!.got.bytes.length).toBe(65535);
    expect(got.drains).toBe(0);
    requests[0]!.got.consume = true;
    requests[0]!.stream.consume(65535);
    run();
    expect(requests[0]!.got.bytes.length).toBe(200_000);
    expect(got.drains).toBe(1);
  });

  test("that is reset fails at the other side with the code", () => {
    const { requests, run, request, client } = pair();
    const got = request(GET, false);
    run();
    got.stream!.reset(ErrorCode.CANCEL);
    run();
    expect(requests[0]!.got.failure?.error.code).toBe(ErrorCode.CANCEL);
    expect(client.streams).toBe(0);
  });

  test("that is answered before its end is cut short without an error", () => {
    const { requests, run, request, server } = pair();
    const got = request(GET, false);
    run();
    requests[0]!.stream.sendHeaders([":status", "404"], true);
    run();
    expect(got.sections).toEqual([[":status", "404"]]);
    expect(got.ended).toBe(true);
    expect(server.streams).toBe(0);
  });
});

describe("draining", () => {
  test("lets the requests that run end, refuses new ones, and then ends both sides", () => {
    const { requests, run, request, client, server } = pair();
    const got = request();
    run();
    server.drain();
    run();
    expect(client.canOpen).toBe(false);
    expect(server.ended).toBe(false);
    requests[0]!.stream.sendHeaders([":status", "200"], true);
    run();
    expect(got.ended).toBe(true);
    expect([client.ended, server.ended]).toEqual([true, true]);
  });

  test("a request that crosses the GOAWAY fails as not processed", () => {
    const { run, request, client, server } = pair();
    wordFrame(server.output, FrameType.GOAWAY, 0, 0, ErrorCode.NO_ERROR);
    const got = request();
    run();
    expect(got.failure?.unprocessed).toBe(true);
    expect(client.ended).toBe(true);
  });

  test("a client with its last stream id opens no more, and ends with the streams that run", () => {
    const { requests, run, request, client, server } = pair({ client: { firstStreamId: IDS_END - 4 } });
    const calls = [request(), request()];
    expect(client.canOpen).toBe(false);
    run();
    for (const { stream } of requests) {
      expect([client.ended, server.ended]).toEqual([false, false]);
      stream.sendHeaders([":status", "200"], true);
      run();
    }
    expect([...calls, client, server].every(({ ended }) => ended)).toBe(true);
  });
});

describe("a peer that breaks the protocol", () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM } = ErrorCode;
  const wrong: [string, ErrorCode, (out: Output) => void][] = [
    ["DATA of an idle stream", PROTOCOL_ERROR, (out) => frame(out, FrameType.DATA, 0, 1)],
    ["HEADERS of stream 0", PROTOCOL_ERROR, (out) => headers(out, 0, GET, Flag.END_HEADERS)],
    ["HEADERS of an even stream", PROTOCOL_ERROR, (out) => headers(out, 2, GET, Flag.END_HEADERS)],
    ["PUSH_PROMISE", PROTOCOL_ERROR, (out) => frame(out, FrameType.PUSH_PROMISE, 0, 1)],
    ["CONTINUATION alone", PROTOCOL_ERROR, (out) => frame(out, FrameType.CONTINUATION, 0, 1)],
    ["SETTINGS of 5 bytes", FRAME_SIZE_ERROR, (out) => frame(out, FrameType.SETTINGS, 0, 0, new Uint8Array(5))],
    ["PING of 4 bytes", FRAME_SIZE_ERROR, (out) => frame(out, FrameType.PING, 0, 0, new Uint8Array(4))],
    ["RST_STREAM of an idle stream", PROTOCOL_ERROR, (out) => wordFrame(out, FrameType.RST_STREAM, 1, 8)],
    ["WINDOW_UPDATE of 0", PROTOCOL_ERROR, (out) => wordFrame(out, FrameType.WINDOW_UPDATE, 0, 0)],
    ["a window over 2^31-1", FLOW_CONTROL_ERROR, (out) => wordFrame(out, FrameType.WINDOW_UPDATE, 0, 0x7fffffff)],
    ["INITIAL_WINDOW_SIZE over 2^31-1", FLOW_CONTROL_ERROR, (out) => settingsFrame(out, [[Setting.INITIAL_WINDOW_SIZE, 0x80000000]])],
    ["MAX_FRAME_SIZE of 1", PROTOCOL_ERROR, (out) => settingsFrame(out, [[Setting.MAX_FRAME_SIZE, 1]])],
    [
      "a header block that is no HPACK",
      COMPRESSION_ERROR,
      (out) => frame(out, FrameType.HEADERS, Flag.END_HEADERS, 1, Uint8Array.of(0x80)),
    ],
    [
      "another frame within a header block",
      PROTOCOL_ERROR,
      (out) => {
        headers(out, 1, GET, 0);
        frame(out, FrameType.PING, 0, 0, new Uint8Array(8));
      },
    ],
    ["a flood of SETTINGS", ENHANCE_YOUR_CALM, (out) => repeat(5000, () => settingsFrame(out, []))],
    [
      "a flood of empty DATA",
      ENHANCE_YOUR_CALM,
      (out) => {
        headers(out, 1, GET, Flag.END_HEADERS);
        repeat(5000, () => frame(out, FrameType.DATA, 0, 1));
      },
    ],
    [
      "endless CONTINUATION",
      ENHANCE_YOUR_CALM,
      (out) => {
        headers(out, 1, GET, 0);
        repeat(100, () => frame(out, FrameType.CONTINUATION, 0, 1));
      },
    ],
    [
      "rapid resets",
      ENHANCE_YOUR_CALM,
      (out) => {
        const encoder = new HpackEncoder();
        for (let id = 1; id < 10_001; id += 2) {
          headers(out, id, GET, Flag.END_HEADERS | Flag.END_STREAM, encoder);
          wordFrame(out, FrameType.RST_STREAM, id, ErrorCode.CANCEL);
        }
      },
    ],
  ];
  const repeat = (times: number, what: () => void) => {
    for (let i = 0; i < times; i++) what();
  };
  for (const [what, code, build] of wrong) {
    test(`is sent away for ${what}`, () => {
      const { server } = serverThatGets(raw(build), { now: () => 0 });
      expect(server.ended).toBe(true);
      expect(server.error?.code).toBe(code);
    });
  }

  test("without the preface is sent away", () => {
    const { server } = serverThatGets(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    expect(server.error?.code).toBe(ErrorCode.PROTOCOL_ERROR);
  });

  test("loses only the stream for a malformed request, too many streams or too much data", () => {
    const resets: [number, number][] = [];
    const reader = new FrameReader(1 << 20, (type, _, stream, b, start) => {
      if (type === FrameType.RST_STREAM) resets.push([stream, b[start + 3]!]);
    });
    const { server } = serverThatGets(
      raw((out) => {
        const encoder = new HpackEncoder();
        headers(out, 1, [":method", "GET"], 4, encoder);
        headers(out, 3, [...GET, "connection", "close"], 4, encoder);
        headers(out, 5, GET, 4, encoder);
        headers(out, 7, GET, 4, encoder);
        for (let i = 0; i < 5; i++) {
          frameHeader(out, 16384, FrameType.DATA, 0, 5);
          out.append(new Uint8Array(16384));
        }
      }),
      { maxConcurrentStreams: 1, streamWindow: 65535 },
    );
    reader.push(server.output.bytes.slice(server.output.start, server.output.end));
    expect(server.ended).toBe(false);
    expect(resets).toEqual([
      [1, ErrorCode.PROTOCOL_ERROR],
      [3, ErrorCode.PROTOCOL_ERROR],
      [7, ErrorCode.REFUSED_STREAM],
      [5, ErrorCode.FLOW_CONTROL_ERROR],
    ]);
  });

  test("that asks for answers and does not read them is sent away", () => {
    const ping = raw((out) => repeat(1000, () => frame(out, FrameType.PING, 0, 0, new Uint8Array(8))), false);
    const { server } = serverThatGets(raw(() => {}));
    for (let i = 0; i < 1000 && !server.ended; i++) server.receive(ping);
    expect(server.error?.code).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  test("can send any bytes without another outcome than going on or an error of HTTP/2", () => {
    const anyFrame = fc.tuple(
      fc.integer({ min: 0, max: 10 }),
      fc.integer({ min: 0, max: 63 }),
      fc.integer({ min: 0, max: 6 }),
      fc.uint8Array({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 30 }), (frames) => {
        const bytes = raw((out) => {
          headers(out, 1, GET, 4);
          for (const [type, flags, stream, payload] of frames) {
            frameHeader(out, payload.length, type, flags, stream);
            out.append(payload);
          }
        });
        const { server } = serverThatGets(bytes);
        expect(server.error?.code).not.toBe(ErrorCode.INTERNAL_ERROR);
      }),
      { numRuns: 500 },
    );
  });
});
