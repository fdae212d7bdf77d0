import { describe, expect, test } from "bun:test";
import { constants, createDeflate, deflateSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { channelPair } from "../testing/channel.ts";
import { RstStatus, SpdyConnection, type SpdyStream } from "./connection.ts";
import { DICTIONARY_ID, spdyDictionary } from "./dictionary.ts";
import { HeaderReader, HeaderWriter } from "./headers.ts";
import { Inflater } from "./inflate.ts";

const dictionary = spdyDictionary();
const bytes = (text: string) => new TextEncoder().encode(text);

/** One deflate stream, cut by sync flushes. */
async function deflated(pieces: Uint8Array[], options: object): Promise<Uint8Array[]> {
  const deflate = createDeflate(options);
  const result: Uint8Array[] = [];
  for (const piece of pieces) {
    const out: Uint8Array[] = [];
    const take = (chunk: Uint8Array) => out.push(chunk);
    deflate.on("data", take);
    deflate.write(piece);
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, () => setImmediate(resolve)));
    deflate.off("data", take);
    result.push(new Uint8Array(Buffer.concat(out)));
  }
  deflate.destroy();
  return result;
}

const collect = async (readable: AsyncIterable<Uint8Array>) => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk.slice());
  return new Uint8Array(Buffer.concat(chunks));
};

test("the dictionary has the checksum that SPDY/3 streams begin with", () => {
  let [a, b] = [1, 0];
  for (const byte of dictionary) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  expect(((b << 16) | a) >>> 0).toBe(DICTIONARY_ID);
});

describe("inflate", () => {
  const piece = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 2000 }),
    fc.string({ minLength: 1, maxLength: 50 }).map((text) => bytes(text.repeat(40))),
    fc.constantFrom("content-type", "streamtype stdout", "port 80").map(bytes),
  );

  test("gives what zlib compressed, piece by piece, at any level and strategy", async () => {
    const options = fc.record({
      level: fc.integer({ min: 0, max: 9 }),
      strategy: fc.constantFrom(constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 12 }), options, async (pieces, options) => {
        const inflater = new Inflater(dictionary);
        const compressed = await deflated(pieces, { dictionary, ...options });
        expect(compressed.map((part) => inflater.push(part))).toEqual(pieces.map((part) => new Uint8Array(part)));
      }),
      { numRuns: 60 },
    );
  });

  test("keeps a window of 32 KiB over many pieces", async () => {
    const pieces = Array.from({ length: 40 }, (_, i) => bytes(`${"abcdefghij".repeat(500)}${i}`));
    const inflater = new Inflater(dictionary);
    for (const [i, part] of (await deflated(pieces, { dictionary })).entries()) expect(inflater.push(part)).toEqual(pieces[i]!);
  });

  test("refuses what is corrupt or too much, and nothing else goes wrong", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (noise, header) => {
        const inflater = new Inflater(dictionary, 10_000);
        try {
          expect(inflater.push(header ? new Uint8Array([0x78, 0x9c, ...noise]) : noise).length).toBeLessThanOrEqual(10_000);
        } catch (error) {
          expect((error as Error).message).toStartWith("inflate: ");
        }
      }),
      { numRuns: 2000 },
    );
    expect(() => new Inflater(dictionary, 1000).push(deflateSync(new Uint8Array(100_000)))).toThrow("too much output");
  });
});

describe("header blocks", () => {
  const headers = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), fc.string({ maxLength: 100 }), { maxKeys: 8 });

  test("come back as they were, one after the other", () => {
    fc.assert(
      fc.property(fc.array(headers, { maxLength: 10 }), (blocks) => {
        const [writer, reader] = [new HeaderWriter(), new HeaderReader()];
        for (const block of blocks) expect({ ...reader.decode(writer.encode(block)) }).toEqual({ ...block });
      }),
    );
  });

  test("are a zlib stream against the dictionary, each with a sync flush at its end", () => {
    const writer = new HeaderWriter();
    const [first, second] = [writer.encode({ streamtype: "error" }), writer.encode({ port: "80" })];
    expect([...first.slice(0, 6)]).toEqual([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
    for (const block of [first, second]) expect([...block.slice(-5)]).toEqual([0, 0, 0, 0xff, 0xff]);
    const plain = inflateRawSync(Buffer.concat([first.slice(6), second]), { finishFlush: constants.Z_SYNC_FLUSH });
    expect(plain.toString("latin1")).toBe("\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error\0\0\0\x01\0\0\0\x04port\0\0\0\x0280");
  });
});

describe("connections", () => {
  const joined = () => {
    const { a, b, run } = channelPair();
    const streams: SpdyStream[] = [];
    let onStream = (stream: SpdyStream) => stream.accept();
    const server = new SpdyConnection("server", b, {
      stream(stream) {
        streams.push(stream);
        onStream(stream);
      },
    });
    const client = new SpdyConnection("client", a);
    return {
      client,
      server,
      streams,
      run,
      b,
      set onStream(f: typeof onStream) {
        onStream = f;
      },
    };
  };

  test("carry streams with headers and data both ways, however bytes are cut", async () => {
    const data = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(data, data), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        async (plan, places) => {
          const { client, streams, run } = joined();
          const opened = plan.map((_, i) => client.open({ streamtype: "data", port: String(i) }));
          run(places);
          await Promise.all(opened.map((stream) => stream.accepted));
          plan.forEach(([up, down], i) => {
            for (const chunk of up) opened[i]!.write(chunk);
            opened[i]!.end();
            for (const chunk of down) streams[i]!.write(chunk);
            streams[i]!.end();
          });
          const read = Promise.all([...opened, ...streams].map((stream) => collect(stream.readable)));
          run(places);
          const want = [...plan.map(([, down]) => down), ...plan.map(([up]) => up)];
          expect(await read).toEqual(want.map((chunks) => new Uint8Array(Buffer.concat(chunks))));
          expect(streams.map((stream) => stream.headers.port)).toEqual(plan.map((_, i) => String(i)));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a stream that is refused fails at the side that opened it", async () => {
    const both = joined();
    both.onStream = (stream) => stream.reset(RstStatus.REFUSED_STREAM);
    const stream = both.client.open({ streamtype: "other" });
    both.run();
    expect(stream.accepted).rejects.toThrow("status 3");
  });

  test("a stream that the other side cancels ends, as Go's servers do it", async () => {
    const { client, streams, run } = joined();
    const stream = client.open({});
    run();
    streams[0]!.write(bytes("all"));
    streams[0]!.reset(RstStatus.CANCEL);
    run();
    expect(new TextDecoder().decode(await collect(stream.readable))).toBe("all");
  });

  test("a slow reader pauses the connection, and reading on resumes it", async () => {
    const { client, streams, run, b } = joined();
    const stream = client.open({});
    run();
    for (let i = 0; i < 20; i++) stream.write(new Uint8Array(50_000));
    stream.end();
    run();
    expect(b.paused).toBe(true);
    const read = collect(streams[0]!.readable);
    for (let i = 0; i < 50; i++) {
      await Promise.resolve();
      run();
    }
    expect((await read).length).toBe(1_000_000);
    expect(b.paused).toBe(false);
  });

  test("pings of the peer are answered, and window updates ignored", () => {
    const { a, b, run } = channelPair();
    new SpdyConnection("server", b, {});
    const got: number[] = [];
    a.start({ data: (chunk) => got.push(...chunk), drain() {}, closed() {} });
    a.write(Uint8Array.of(0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 1, 0));
    a.write(Uint8Array.of(0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7));
    run();
    expect(got).toEqual([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]);
  });

  test("the end of the connection ends its streams with an error", async () => {
    const { client, streams, run } = joined();
    const stream = client.open({});
    run();
    const read = collect(streams[0]!.readable);
    client.close();
    run();
    expect(read).rejects.toThrow("closed");
    expect(stream.write(bytes("x"))).toBeUndefined();
  });

  test("any bytes are taken or end the connection, without another error", () => {
    const frame = fc
      .tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 40 }))
      .map(([type, payload]) => (type === 0 ? payload : new Uint8Array([0x80, 3, 0, type, 0, 0, 0, payload.length, ...payload])));
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), (frames) => {
        const { a, b, run } = channelPair();
        new SpdyConnection("server", b, { stream: (stream) => stream.accept() });
        for (const bytes of frames) a.write(bytes);
        run();
      }),
      { numRuns: 500 },
    );
  });
});
