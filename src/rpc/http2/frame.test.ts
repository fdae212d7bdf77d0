import { expect, test } from "bun:test";
import fc from "fast-check";
import { cut } from "../testing/cut.ts";
import { FrameReader, frameHeader, PREFACE } from "./frame.ts";
import { Output } from "./output.ts";

const frame = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  flags: fc.integer({ min: 0, max: 255 }),
  stream: fc.integer({ min: 0, max: 0x7fffffff }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

test("frames come out whole, wherever the bytes are cut", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 10 }), fc.array(fc.nat(), { maxLength: 30 }), fc.boolean(), (frames, places, withPreface) => {
      const out = new Output(1);
      if (withPreface) out.append(PREFACE);
      for (const { type, flags, stream, payload } of frames) {
        frameHeader(out, payload.length, type, flags, stream);
        out.append(payload);
      }
      const got: typeof frames = [];
      const reader = new FrameReader(
        16384,
        (type, flags, stream, b, start, end) => got.push({ type, flags, stream, payload: b.slice(start, end) }),
        withPreface ? PREFACE : undefined,
      );
      for (const piece of cut(out.bytes.slice(out.start, out.end), places)) reader.push(piece);
      expect(got).toEqual(frames);
    }),
  );
});

test("a frame over the limit is refused before it is read", () => {
  const reader = new FrameReader(16384, () => {});
  expect(() => reader.push(Uint8Array.of(0, 0x40, 1, 0, 0))).not.toThrow();
  expect(() => reader.push(Uint8Array.of(0, 0, 0, 1))).toThrow("frame of 16385 bytes");
});

test("output keeps its order while it grows and is taken", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 50 }), fc.nat(60)), { maxLength: 50 }), (steps) => {
      const out = new Output(8);
      const expected: number[] = [];
      const got: number[] = [];
      for (const [data, take] of steps) {
        out.append(data);
        expected.push(...data);
        const count = Math.min(take, out.length);
        got.push(...out.bytes.subarray(out.start, out.start + count));
        out.taken(count);
      }
      got.push(...out.bytes.subarray(out.start, out.end));
      expect(got).toEqual(expected);
    }),
  );
});
