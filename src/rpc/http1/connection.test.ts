import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Exchange } from "../exchange.ts";
import { ErrorCode } from "../http2/errors.ts";
import { cut } from "../testing/cut.ts";
import { Http1Connection } from "./connection.ts";

interface Asked {
  exchange: Exchange;
  fields: string[];
  body: string;
  whole: boolean;
  failure: string | undefined;
  drains: number;
}

/** What comes behind an answer is looked at in a later microtask. */
async function settled() {
  await Promise.resolve();
  await Promise.resolve();
}

/** A connection whose requests are written down; what is sent gathers in `sent`. */
function open(options: { upgrades?: boolean; answer?: (asked: Asked) => void; maxHead?: number } = {}) {
  const requests: Asked[] = [];
  const pauses: boolean[] = [];
  const upgraded: { fields: string[]; rest: string; unsent: string }[] = [];
  let sent = "";
  const connection = new Http1Connection(
    {
      wake() {},
      request(exchange, fields, end) {
        const asked: Asked = { exchange, fields, body: "", whole: end, failure: undefined, drains: 0 };
        requests.push(asked);
        if (end) options.answer?.(asked);
        return {
          headers() {},
          data(data, last) {
            asked.body += Buffer.from(data).toString("latin1");
            asked.whole ||= last;
            if (last) options.answer?.(asked);
          },
          drain: () => void asked.drains++,
          failed: ({ error }) => (asked.failure = error.message),
        };
      },
      upgrade(fields, rest, unsent) {
        if (!options.upgrades) return false;
        upgraded.push({ fields, rest: Buffer.from(rest).toString(), unsent: Buffer.from(unsent).toString() });
        return true;
      },
      pause: (paused) => void pauses.push(paused),
    },
    "https",
    { maxHead: options.maxHead },
  );
  const take = (most = Number.POSITIVE_INFINITY) => {
    const { output } = connection;
    const count = Math.min(most, output.length);
    sent += Buffer.from(output.bytes.subarray(output.start, output.start + count)).toString("latin1");
    connection.taken(count);
    return count;
  };
  return {
    connection,
    requests,
    pauses,
    upgraded,
    take,
    get sent() {
      while (take() > 0) {}
      return sent;
    },
    async say(text: string) {
      connection.receive(Buffer.from(text, "latin1"));
      await settled();
    },
  };
}

const ok = ({ exchange }: Asked) => {
  exchange.sendHeaders([":status", "200", "content-length", "2"]);
  exchange.sendData(Buffer.from("ok"), true);
};
const path = ({ fields }: Asked) => fields[5];
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

test("a request has its method, target and fields, in lower case and without spaces around values", async () => {
  const c = open();
  await c.say("PUT /a/b?c=%20 HTTP/1.1\r\nHost: h:1\r\nX-Some:\t v w \r\nContent-Length: 3\r\nTE: trailers\r\nEmpty:\r\n\r\nabc");
  expect(c.requests).toMatchObject([{ body: "abc", whole: true }]);
  expect(c.requests[0]!.fields).toEqual(
    [":method", "PUT", ":scheme", "https", ":path", "/a/b?c=%20", ":authority", "h:1"].concat([
      "x-some",
      "v w",
      "content-length",
      "3",
      "empty",
      "",
    ]),
  );
});

test("a target may name its server, and that is the authority then", async () => {
  const c = open({ answer: ok });
  await c.say("GET http://one:80/x?y HTTP/1.1\r\nHost: two\r\n\r\nGET https://three HTTP/1.1\r\nhost: two\r\n\r\n");
  await c.say("OPTIONS * HTTP/1.1\r\nhost:\r\n\r\n");
  expect(c.requests.map(({ fields }) => [fields[5], fields[7]])).toEqual([
    ["/x?y", "one:80"],
    ["/", "three"],
    ["*", ""],
  ]);
});

const POST = "POST / HTTP/1.1\r\nHost: a\r\n";
const refused: [status: number, what: string, text: string][] = [
  [400, "no version", "GET /\r\n\r\n"],
  [400, "a version of 0.9", "GET / HTTP/0.9x\r\n\r\n"],
  [505, "a version of 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"],
  [505, "a version of 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"],
  [400, "two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"],
  [400, "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"],
  [400, "a method that is no token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"],
  [400, "a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"],
  [400, "CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"],
  [400, "a space before the colon", `${POST}X : 1\r\n\r\n`],
  [400, "a folded line", `${POST}X: 1\r\n 2\r\n\r\n`],
  [400, "a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"],
  [400, "a field without a colon", `${POST}X\r\n\r\n`],
  [400, "a field without a name", `${POST}: 1\r\n\r\n`],
  [400, "NUL in a value", `${POST}X: a\0b\r\n\r\n`],
  [400, "a bare CR in a value", `${POST}X: a\rb\r\n\r\n`],
  [400, "a bare LF in a value", `${POST}X: a\nContent-Length: 5\r\n\r\n`],
  [400, "lines that end in LF", "GET / HTTP/1.1\nHost: a\n\n"],
  [400, "no Host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n"],
  [400, "two Hosts", `${POST}Host: b\r\n\r\n`],
  [400, "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"],
  [400, "two lengths", `${POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`],
  [400, "a list of lengths", `${POST}Content-Length: 1, 1\r\n\r\na`],
  [400, "a signed length", `${POST}Content-Length: +1\r\n\r\na`],
  [400, "a length in hex", `${POST}Content-Length: 0x1\r\n\r\na`],
  [400, "an empty length", `${POST}Content-Length:\r\n\r\n`],
  [400, "a length of 17 digits", `${POST}Content-Length: 10000000000000000\r\n\r\n`],
  [400, "length and chunks", `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  [400, "chunks and length", `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
  [400, "chunks twice", `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  [501, "an unknown coding", `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  [501, "chunked, nearly", `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  [400, "chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  [417, "an unknown expectation", `${POST}Expect: a-miracle\r\n\r\n`],
  [400, "a chunk size that is none", `${POST}Transfer-Encoding: chunked\r\n\r\nx\r\n`],
  [400, "a negative chunk size", `${POST}Transfer-Encoding: chunked\r\n\r\n-1\r\n`],
  [400, "a chunk size of 13 digits", `${POST}Transfer-Encoding: chunked\r\n\r\n1000000000000\r\n`],
  [400, "a chunk that is longer than it says", `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`],
  [400, "a chunk extension with a bare LF", `${POST}Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n`],
  [400, "an endless chunk extension", `${POST}Transfer-Encoding: chunked\r\n\r\n1;${"x".repeat(5000)}`],
  [400, "extensions to many small chunks", `${POST}Transfer-Encoding: chunked\r\n\r\n${`1;${"x".repeat(200)}\r\na\r\n`.repeat(200)}`],
  [400, "trailers without end", `${POST}Transfer-Encoding: chunked\r\n\r\n0\r\n${"a: b\r\n".repeat(5000)}`],
  [400, "a trailer that is no field", `${POST}Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n`],
  [431, "a head that is too long", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(70_000)}`],
  [431, "too many fields", `${POST}${"a:\r\n".repeat(1001)}\r\n`],
  [400, "empty lines without end", "\r\n".repeat(50)],
];
for (const [status, what, text] of refused) {
  test(`${what}: ${status}, and the connection ends`, async () => {
    const c = open({ answer: ok });
    await c.say(`${text}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(c.sent).toStartWith(`HTTP/1.1 ${status} `);
    expect(c.sent).toContain("\r\nconnection: close\r\n");
    expect(c.connection.ended).toBe(true);
    expect(c.requests.map(path)).not.toContain("/smuggled");
  });
}

test("requests behind each other are answered one by one, in order", async () => {
  const c = open();
  await c.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  for (let i = 1; i <= 3; i++) {
    expect(c.requests.map(path)).toEqual(["/1", "/2", "/3"].slice(0, i));
    ok(c.requests.at(-1)!);
    await c.say("");
  }
  expect(c.sent).toBe(OK.repeat(3));
});

test("what comes too far ahead of its answer is not read until that is whole", async () => {
  const c = open();
  await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await c.say(`POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n${"x".repeat(300_000)}`);
  expect([c.pauses, c.sent]).toEqual([[true], ""]);
  ok(c.requests[0]!);
  await c.say("");
  expect(c.requests[1]!.body).toHaveLength(300_000);
  ok(c.requests[1]!);
  await c.say("");
  expect(c.pauses.at(-1)).toBe(false);
  expect(c.sent).toBe(OK.repeat(2));
});

test("requests are not answered while the answers before wait for the client", async () => {
  const large = Buffer.alloc(1_000_000, "x");
  const c = open({
    answer({ exchange }) {
      exchange.sendHeaders([":status", "200", "content-length", String(large.length)]);
      exchange.sendData(large, true);
    },
  });
  await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
  expect(c.requests.length).toBe(1);
  expect(c.connection.backlog).toBeLessThan(1_100_000);
  while (c.connection.backlog > 0) {
    c.take(100_000);
    await c.say("");
    expect(c.connection.backlog).toBeLessThan(1_400_000);
  }
  expect(c.requests.length).toBe(100);
});

test("a head may be as long as the server wants it", async () => {
  for (const [maxHead, status] of [
    [undefined, 431],
    [1024 * 1024, 200],
  ] as const) {
    const c = open({ answer: ok, maxHead });
    await c.say(`GET /?${"x".repeat(500_000)} HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect(c.sent).toStartWith(`HTTP/1.1 ${status} `);
  }
});

test("who says close, or speaks HTTP/1.0, has one request, unless it asks to keep the connection", async () => {
  for (const [head, keeps] of [
    ["HTTP/1.1\r\nHost: a\r\n", true],
    ["HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n", false],
    ["HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", true],
    ["HTTP/1.0\r\n", false],
    ["HTTP/1.0\r\nConnection: Keep-Alive\r\n", true],
  ] as const) {
    const c = open({ answer: ok });
    await c.say(`GET / ${head}\r\nGET / ${head}\r\n`);
    expect(c.requests.length).toBe(keeps ? 2 : 1);
    expect(c.connection.ended).toBe(!keeps);
    expect(c.sent.includes("connection: close")).toBe(!keeps);
  }
});

test("an answer of unknown length goes in chunks, to HTTP/1.0 until the connection closes", async () => {
  for (const [version, expected] of [
    ["1.1", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\na\r\n\r\n0\r\n\r\n"],
    ["1.0", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhelloa\r\n"],
  ] as const) {
    const c = open();
    await c.say(`GET / HTTP/${version}\r\nHost: a\r\n\r\n`);
    const { exchange } = c.requests[0]!;
    exchange.sendHeaders([":status", "200"]);
    exchange.sendData(Buffer.from("hello"));
    exchange.sendData(Buffer.from("a\r\n"));
    exchange.end();
    expect(c.sent).toBe(expected);
    expect(c.connection.ended).toBe(version === "1.0");
  }
});

test("HEAD, 204 and 304 have no body", async () => {
  const c = open();
  await c.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  ok(c.requests[0]!);
  for (const status of ["204", "304"]) {
    await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const { exchange } = c.requests.at(-1)!;
    exchange.sendHeaders([":status", status]);
    exchange.sendData(Buffer.from("no"), true);
  }
  await c.say("");
  expect(c.sent.replace(/transfer-encoding: chunked\r\n/g, "")).toBe(
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
  );
});

test("a client that waits for 100 gets it when its body is wanted, and is sent away when it is not", async () => {
  const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  const wanted = open({ answer: ok });
  await wanted.say(head);
  expect(wanted.sent).toBe("");
  wanted.requests[0]!.exchange.proceed?.();
  wanted.requests[0]!.exchange.proceed?.();
  expect(wanted.sent).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  await wanted.say("hi");
  expect(wanted.sent).toBe(`HTTP/1.1 100 Continue\r\n\r\n${OK}`);
  expect(wanted.connection.ended).toBe(false);
  const unwanted = open();
  await unwanted.say(head);
  unwanted.requests[0]!.exchange.sendHeaders([":status", "401"], true);
  // Whether these two bytes are the body, nobody can tell.
  await unwanted.say("hiGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(unwanted.sent).toBe("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  expect(unwanted.requests).toHaveLength(1);
  // Without a body there is nothing to wait for.
  const none = open({ answer: ok });
  await none.say("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
  expect(none.sent).toBe(OK);
});

test("what is left of a body after its answer is dropped, up to a limit", async () => {
  const c = open();
  await c.say(`${POST}Content-Length: 10\r\n\r\nabc`);
  ok(c.requests[0]!);
  await c.say(`defghijGET /2 HTTP/1.1\r\nHost: a\r\n\r\n`);
  expect(c.requests.map(path)).toEqual(["/", "/2"]);
  const long = open();
  await long.say(`${POST}Content-Length: 1000000\r\n\r\nabc`);
  ok(long.requests[0]!);
  expect(long.sent).toContain("connection: close");
  expect(long.connection.ended).toBe(true);
  const chunks = open();
  await chunks.say(`${POST}Transfer-Encoding: chunked\r\n\r\n`);
  ok(chunks.requests[0]!);
  for (let i = 0; i < 5; i++) await chunks.say(`10000\r\n${"x".repeat(65_536)}\r\n`);
  expect(chunks.connection.ended).toBe(true);
});

test("a body is read only as fast as it is used", async () => {
  const c = open();
  await c.say(`${POST}Content-Length: 1000000\r\n\r\n`);
  await c.say("x".repeat(200_000));
  expect(c.pauses).toEqual([]);
  await c.say("x".repeat(100_000));
  expect(c.pauses).toEqual([true]);
  c.requests[0]!.exchange.consume(100_000);
  expect(c.pauses).toEqual([true]);
  c.requests[0]!.exchange.consume(200_000);
  expect(c.pauses).toEqual([true, false]);
  await c.say("x".repeat(700_000));
  expect(c.pauses).toEqual([true, false, true]);
  ok(c.requests[0]!);
  expect(c.pauses).toEqual([true, false, true, false]);
  expect(c.requests[0]!.body.length).toBe(1_000_000);
});

test("a large answer is not copied before the client takes it, and the writer waits", async () => {
  const c = open();
  await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const { exchange } = c.requests[0]!;
  const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 256));
  exchange.sendHeaders([":status", "200", "content-length", String(body.length + 5)]);
  expect(exchange.sendData(body)).toBe(false);
  expect(c.connection.output.length).toBeLessThanOrEqual(256 * 1024);
  expect(c.connection.backlog).toBeGreaterThan(body.length);
  let bursts = 0;
  while (c.take(100_000) > 0) {
    bursts++;
    expect(c.connection.output.length).toBeLessThanOrEqual(256 * 1024);
  }
  expect(bursts).toBe(31);
  expect(c.requests[0]!.drains).toBe(1);
  expect(exchange.sendData(Buffer.from("after"), true)).toBe(true);
  expect(c.sent).toEndWith(`\r\n\r\n${body.toString("latin1")}after`);
});

test("a client that closes its half has its answer still, but none that has no end", async () => {
  const whole = open();
  await whole.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  whole.connection.inputEnded();
  expect(whole.connection.ended).toBe(false);
  ok(whole.requests[0]!);
  await whole.say("");
  expect(whole.sent).toContain("\r\n\r\nok");
  expect(whole.connection.ended).toBe(true);
  const several = open({ answer: ok });
  await several.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /half");
  several.connection.inputEnded();
  for (let i = 0; i < 3; i++) await several.say("");
  expect(several.sent).toBe(OK.repeat(2));
  expect(several.connection.ended).toBe(true);
  const watch = open();
  await watch.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  watch.requests[0]!.exchange.sendHeaders([":status", "200"]);
  watch.connection.inputEnded();
  expect(watch.requests[0]!.failure).toBeDefined();
  const half = open();
  await half.say(`${POST}Content-Length: 10\r\n\r\nabc`);
  half.connection.inputEnded();
  expect(half.requests[0]!.failure).toBeDefined();
  for (const c of [watch, half]) expect(c.connection.ended).toBe(true);
});

test("a client that closes its half behind several requests has the end when it has taken the last answer", async () => {
  const body = "x".repeat(200_000);
  const c = open({
    answer({ exchange }) {
      exchange.sendHeaders([":status", "200", "content-length", `${body.length}`]);
      exchange.sendData(Buffer.from(body), true);
    },
  });
  await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
  c.connection.inputEnded();
  await settled();
  expect(c.requests.length).toBeLessThan(5);
  expect(c.connection.ended).toBe(false);
  while (c.take(50_000) > 0) await settled();
  expect(c.requests).toHaveLength(5);
  expect(c.sent).toBe(`HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n${body}`.repeat(5));
  expect(c.connection.ended).toBe(true);
});

test("an answer that breaks off does not look whole, and nothing is mixed into it", async () => {
  const c = open();
  await c.say(`${POST}Transfer-Encoding: chunked\r\n\r\n`);
  const { exchange } = c.requests[0]!;
  exchange.sendHeaders([":status", "200"]);
  exchange.sendData(Buffer.from("part"));
  await c.say("no size\r\n");
  exchange.end();
  expect(c.sent).toBe("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n");
  const reset = open();
  await reset.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  reset.requests[0]!.exchange.sendHeaders([":status", "200"]);
  reset.requests[0]!.exchange.reset(ErrorCode.INTERNAL_ERROR);
  expect(reset.sent).toEndWith("chunked\r\n\r\n");
  expect(reset.connection.ended).toBe(true);
});

test("a connection that drains ends after the request that runs", async () => {
  const idle = open();
  idle.connection.drain();
  expect(idle.connection.ended).toBe(true);
  const c = open();
  await c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  c.connection.drain();
  expect(c.connection.ended).toBe(false);
  ok(c.requests[0]!);
  expect(c.sent).toContain("connection: close");
  expect(c.connection.ended).toBe(true);
});

test("an upgrade takes the bytes behind it, and what was not sent before it", async () => {
  const c = open({ upgrades: true, answer: ok });
  await c.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  await c.say("GET /exec HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\nrest");
  expect(c.upgraded).toEqual([
    {
      fields: [":method", "GET", ":scheme", "https", ":path", "/exec", ":authority", "a", "sec-websocket-key", "k", "upgrade", "websocket"],
      rest: "rest",
      unsent: OK,
    },
  ]);
  await c.say("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(c.requests.map(path)).toEqual(["/1"]);
});

test("an upgrade that is not taken, not asked for by Connection, or has a body is a request like others", async () => {
  const upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
  for (const [head, upgrades] of [
    [`GET / HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n`, false],
    ["GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", true],
    [`POST / HTTP/1.1\r\nHost: a\r\n${upgrade}Content-Length: 1\r\n\r\nx`, true],
    [`GET / HTTP/1.0\r\n${upgrade}\r\n`, true],
  ] as const) {
    const c = open({ upgrades, answer: ok });
    await c.say(head);
    expect(c.upgraded).toEqual([]);
    expect(c.requests.length).toBe(1);
    expect(c.requests[0]!.fields).not.toContain("upgrade");
  }
});

test("requests are the same wherever their bytes are cut", async () => {
  const request = fc
    .record({
      path: fc.stringMatching(/^[a-z0-9/]{0,20}$/),
      body: fc.array(fc.string({ maxLength: 30, unit: "binary-ascii" }), { maxLength: 4 }),
      chunked: fc.boolean(),
      value: fc.stringMatching(/^[!-~]{0,40}$/),
    })
    .map(({ path, body, chunked, value }) => {
      const chunks = body.filter((b) => b !== "");
      const head = `POST /${path} HTTP/1.1\r\nHost: a\r\nX: ${value}\r\n`;
      const text = chunked
        ? `${head}Transfer-Encoding: chunked\r\n\r\n${chunks.map((b) => `${b.length.toString(16)};x\r\n${b}\r\n`).join("")}0\r\nT: 1\r\n\r\n`
        : `${head}Content-Length: ${chunks.join("").length}\r\n\r\n${chunks.join("")}`;
      return { path: `/${path}`, body: chunks.join(""), value, text };
    });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 6 }), fc.array(fc.nat(400), { maxLength: 30 }), async (requests, places) => {
      const c = open({ answer: ok });
      for (const piece of cut(new Uint8Array(Buffer.from(requests.map((r) => r.text).join(""), "latin1")), places)) {
        await c.say(Buffer.from(piece).toString("latin1"));
      }
      for (let i = 0; i < requests.length * 2; i++) await c.say("");
      expect(c.requests.map((r) => ({ path: path(r), body: r.body, value: r.fields[9] }))).toEqual(
        requests.map((r) => ({ path: r.path, body: r.body, value: r.value })),
      );
      expect(c.sent).toBe(OK.repeat(requests.length));
    }),
    { numRuns: 200 },
  );
});
