import { expect, test } from "bun:test";
import fc from "fast-check";
import { cut } from "../testing/cut.ts";
import { encodeFrame, FrameParser, Opcode } from "./frames.ts";

type Event = [what: string, data: Uint8Array | number];

function parse(pieces: Uint8Array[], masked = true, maxSize?: number): Event[] {
  const events: Event[] = [];
  const parser = new FrameParser(
    {
      message: (opcode, data) => events.push([`message ${opcode}`, data]),
      ping: (data) => events.push(["ping", data]),
      close: (code) => events.push(["close", code]),
    },
    masked,
    maxSize,
  );
  for (const piece of pieces) parser.push(piece);
  return events;
}

test("messages and pings come out whole, masked or not, wherever the bytes are cut", () => {
  const message = fc.tuple(
    fc.constantFrom(Opcode.TEXT, Opcode.BINARY, Opcode.PING),
    fc.oneof(
      { weight: 5, arbitrary: fc.uint8Array({ maxLength: 120 }) },
      { weight: 1, arbitrary: fc.uint8Array({ minLength: 60_000, maxLength: 70_000 }) },
    ),
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 20 }), fc.boolean(), (messages, places, masked) => {
      const sent = messages.map(([opcode, data, mask]) => [opcode, opcode === Opcode.PING ? data.slice(0, 125) : data, mask] as const);
      const wire = Buffer.concat(sent.map(([opcode, data, mask]) => encodeFrame(opcode, data, masked ? mask : undefined)));
      const want = sent.map(([opcode, data]): Event => [opcode === Opcode.PING ? "ping" : `message ${opcode}`, data]);
      expect(parse(cut(new Uint8Array(wire), places), masked)).toEqual(want);
    }),
    { numRuns: 60 },
  );
});

test("fragments are joined, with a ping between them", () => {
  const part = (first: number, text: string) => Uint8Array.of(first, text.length, ...new TextEncoder().encode(text));
  const events = parse([part(0x02, "ab"), part(0x89, ""), part(0x00, "cd"), part(0x80, "ef")], false);
  expect(events.map(([what]) => what)).toEqual(["ping", "message 2"]);
  expect(new TextDecoder().decode(events[1]![1] as Uint8Array)).toBe("abcdef");
});

test("what breaks the protocol is refused", () => {
  const refused: [string, Uint8Array][] = [
    ["wrong mask bit", Uint8Array.of(0x82, 0x80, 0, 0, 0, 0)],
    ["a reserved bit", Uint8Array.of(0xc2, 0)],
    ["out of place", Uint8Array.of(0x80, 0)],
    ["a control frame", Uint8Array.of(0x89, 126, 0, 200)],
    ["a message over 10 bytes", Uint8Array.of(0x82, 11)],
    ["opcode 11", Uint8Array.of(0x8b, 0)],
  ];
  for (const [why, bytes] of refused) expect(() => parse([bytes], false, 10)).toThrow(why);
});
