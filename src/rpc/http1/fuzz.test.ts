// What a proxy in front and this server could understand differently is how
// requests are smuggled, so another reader of HTTP/1.1 is asked what it sees.
import { expect, test } from "bun:test";
import { createServer } from "node:http";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { cut } from "../testing/cut.ts";
import { Http1Connection } from "./connection.ts";

interface Seen {
  method: string;
  target: string;
  body: string;
}

/** The requests of which this server has read all, and whether it refused what came then. */
async function ours(bytes: Uint8Array, places: readonly number[]): Promise<{ seen: Seen[]; refused: boolean }> {
  const seen: Seen[] = [];
  const connection = new Http1Connection(
    {
      wake() {},
      request(exchange, fields, end) {
        let body = "";
        const whole = () => {
          seen.push({ method: fields[1]!, target: fields[5]!, body });
          exchange.sendHeaders([":status", "204"], true);
        };
        if (end) whole();
        return {
          headers() {},
          data(data, last) {
            body += Buffer.from(data).toString("latin1");
            if (last) whole();
          },
          failed() {},
        };
      },
    },
    "http",
  );
  for (const piece of cut(bytes, places)) {
    connection.receive(piece);
    for (let i = 0; i < 40; i++) await Promise.resolve();
  }
  const { output } = connection;
  const answers = Buffer.from(output.bytes.subarray(output.start, output.end)).toString("latin1");
  return { seen, refused: /^HTTP\/1\.1 [45]/m.test(answers) };
}

class Wire extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** The same by node:http. */
async function theirs(bytes: Uint8Array): Promise<Seen[]> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("error", () => {});
    request.on("end", () => {
      seen.push({ method: request.method!, target: request.url!, body: Buffer.concat(chunks).toString("latin1") });
      response.writeHead(204).end();
    });
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  const wire = new Wire();
  wire.on("error", () => {});
  const closed = new Promise<void>((resolve) => wire.once("close", resolve));
  server.emit("connection", wire);
  wire.push(bytes);
  wire.push(null);
  await closed;
  return seen;
}

const fragments = [
  "GET / HTTP/1.1\r\n",
  "POST /a HTTP/1.1\r\n",
  "POST /b HTTP/1.0\r\n",
  "Host: a\r\n",
  "Content-Length: 3\r\n",
  "Content-Length: 0\r\n",
  "Content-Length : 3\r\n",
  "Content-Length: 3, 3\r\n",
  "content-length:\t3 \r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: identity, chunked\r\n",
  "Transfer-Encoding:\x0bchunked\r\n",
  "Transfer-Encoding\r\n : chunked\r\n",
  "Connection: keep-alive\r\n",
  "Expect: 100-continue\r\n",
  "X: y\r\n",
  "\r\n",
  "\n",
  "\r",
  " ",
  "abc",
  "3\r\nabc\r\n",
  "3;x=y\r\nabc\r\n",
  "03\r\nabc\r\n",
  "0\r\n",
  "0\r\n\r\n",
  "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
  "\0",
  "\xff",
];

const request = fc.oneof(
  fc.constant("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
  fc.constant("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
  fc.constant("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
);
/** Requests with something put in, taken out or in another place. */
const nearly = fc
  .tuple(
    fc.array(request, { minLength: 1, maxLength: 3 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(6), fc.constantFrom(...fragments)), { maxLength: 2 }),
  )
  .map(([requests, edits]) => {
    let text = requests.join("");
    for (const [place, drop, put] of edits) {
      const at = place % text.length;
      text = text.slice(0, at) + put + text.slice(at + drop);
    }
    return text;
  });
const pieces = fc.array(fc.constantFrom(...fragments), { maxLength: 14 }).map((parts) => parts.join(""));

test("whatever comes, no request is seen that node:http sees differently", async () => {
  let agreed = 0;
  await fc.assert(
    fc.asyncProperty(fc.oneof(nearly, pieces), fc.array(fc.nat(300), { maxLength: 5 }), async (text, places) => {
      const bytes = new Uint8Array(Buffer.from(text, "latin1"));
      const [mine, other] = [(await ours(bytes, places)).seen, await theirs(bytes)];
      // Either may refuse sooner; up to there they have to be the same.
      const both = Math.min(mine.length, other.length);
      agreed += both;
      expect(mine.slice(0, both)).toEqual(other.slice(0, both));
    }),
    { numRuns: 1500 },
  );
  expect(agreed).toBeGreaterThan(300);
});

test("any bytes are read without an exception or an endless loop, and are the same however they are cut", async () => {
  const text = fc.oneof(nearly, pieces, fc.string({ unit: "binary-ascii", maxLength: 300 }));
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat(300), { maxLength: 40 }), async (bytes, places) => {
      const whole = new Uint8Array(Buffer.from(bytes, "latin1"));
      expect(await ours(whole, places)).toEqual(await ours(whole, []));
    }),
    { numRuns: 1500 },
  );
});
