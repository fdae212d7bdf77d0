// How the port behaves on the wire: real sockets, clients of others, and those
// that break the rules.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { type KeyPair, Pki } from "../../cmd/cluster/pki.ts";
import type { Incoming } from "./incoming.ts";
import { Listener, type ListenerOptions } from "./listener.ts";
import { json, Reply, text } from "./reply.ts";

let dir: string;
let ca: string;
let serving: KeyPair;
let jane: KeyPair;
/** A certificate that another authority has signed. */
let stranger: KeyPair;
let listener: Listener;
let port = 0;

/** What the handlers have seen. */
const seen = { streams: 0, ended: 0, written: 0, blocked: 0, tunnels: 0 };
const quarter = new Uint8Array(256 * 1024).fill(120);
/** Wakes all that wait at /ticks. */
let tick = Promise.withResolvers<void>();

async function handler(request: Incoming): Promise<Response> {
  const path = request.target.split("?")[0];
  switch (path) {
    case "/who":
      return json(200, { subject: request.subject ?? null, error: request.certificateError ?? null, remote: request.remote });
    case "/limited": {
      const body = await request.body(1000);
      return body === undefined ? text(413, "too large") : text(200, String(body.length));
    }
    case "/hurried":
      return text(504, await request.body(1000, 300).then(String, (error: Error) => error.message));
    case "/unread":
      return text(401, "no");
    case "/headers":
      return new Reply(200, { warning: ['299 - "spec.č\r\nevil: 1"', "299 - two"], "x-latin": "\u010a\u010d" }, "x");
    case "/throws":
      throw new Error("a handler's own");
    case "/throws-late":
      return new Reply(200, {}, async (sink) => {
        await sink.write("part");
        throw new Error("a writer's own");
      });
    case "/stuck":
      return await new Promise<Response>((_, reject) => request.signal.addEventListener("abort", () => reject(new Error("gone"))));
    case "/large":
      return new Reply(200, {}, new Uint8Array(8 * 1024 * 1024).fill(121));
    case "/ticks":
      return new Reply(200, { "content-type": "application/json" }, async (sink) => {
        sink.flush();
        seen.streams++;
        while (!sink.signal.aborted) {
          await Promise.race([tick.promise, new Promise((r) => sink.signal.addEventListener("abort", r))]);
          await sink.write("tick\n");
        }
        seen.ended++;
      });
    case "/flood":
      return new Reply(200, {}, async (sink) => {
        seen.streams++;
        while (!sink.signal.aborted) {
          const wait = sink.write(quarter);
          seen.written++;
          if (wait) {
            seen.blocked++;
            await wait;
          } else await Bun.sleep(0);
        }
        seen.ended++;
      });
  }
  return text(404, "");
}

const start = async (options: Partial<ListenerOptions> = {}) => {
  const made = new Listener({
    host: "127.0.0.1",
    port: 0,
    tls: { ...serving, clientCa: ca },
    handler,
    upgrade(request, socket, head) {
      seen.tunnels++;
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: ${request.message.headers.upgrade}\r\nconnection: upgrade\r\n\r\n`);
      if (head.length > 0) socket.write(head);
      socket.pipe(socket);
      socket.once("close", () => seen.tunnels--);
    },
    ...options,
  });
  return { listener: made, port: await made.listen(), [Symbol.asyncDispose]: () => made.close() };
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "kubun-port-"));
  const pki = await Pki.open(dir);
  ca = pki.ca.cert;
  serving = await pki.leaf({ name: "s", commonName: "server", hosts: ["localhost", "127.0.0.1"] });
  jane = await pki.leaf({ name: "c", commonName: "jane", organizations: ["dev", "ops"] });
  const other = mkdtempSync(join(dir, "other-"));
  stranger = await (await Pki.open(other)).leaf({ name: "c", commonName: "jane", organizations: ["system:masters"] });
  writeFileSync(join(dir, "jane.crt"), jane.cert);
  writeFileSync(join(dir, "jane.key"), jane.key);
  writeFileSync(join(dir, "authority.crt"), ca);
  ({ listener, port } = await start());
});
afterAll(async () => {
  await listener?.close();
  rmSync(dir, { recursive: true });
});

async function until(what: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!what()) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await Bun.sleep(2);
  }
}

interface Wire {
  socket: TLSSocket;
  got: string;
  ended: boolean;
  closed: boolean;
}

/** A TLS connection that says whatever a test wants. */
async function wire(options: { at?: number; client?: KeyPair; alpn?: string } = {}): Promise<Wire> {
  const { at = port, client, alpn = "http/1.1" } = options;
  const socket = connectTls({
    host: "127.0.0.1",
    port: at,
    ca,
    cert: client?.cert,
    key: client?.key,
    ALPNProtocols: [alpn],
    allowHalfOpen: true,
  } as Parameters<typeof connectTls>[0] & object);
  const w: Wire = { socket, got: "", ended: false, closed: false };
  socket.on("data", (chunk: Buffer) => (w.got += chunk.toString("latin1")));
  socket.on("end", () => (w.ended = true));
  socket.on("error", () => {});
  socket.on("close", () => (w.closed = w.ended = true));
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  return w;
}

/** What one connection gets for some bytes, until the server ends it. */
async function talk(bytes: string | Uint8Array, at = port): Promise<string> {
  const w = await wire({ at });
  w.socket.write(bytes);
  await until(() => w.ended);
  w.socket.destroy();
  return w.got;
}

async function session(at = port, client?: KeyPair): Promise<ClientHttp2Session> {
  const made = connectHttp2(`https://127.0.0.1:${at}`, {
    ca,
    cert: client?.cert,
    key: client?.key,
    settings: { initialWindowSize: 65_535 },
  });
  made.on("error", () => {});
  await new Promise((resolve, reject) => made.once("connect", resolve).once("error", reject));
  return made;
}

/** A request whose answer is gathered. */
function ask(on: ClientHttp2Session, path: string, body?: Uint8Array) {
  const stream = on.request({ ":path": path, ":method": body ? "POST" : "GET" }, { endStream: !body });
  const state = { stream, status: 0, got: "", ended: false, failed: false };
  stream.on("response", (h) => (state.status = Number(h[":status"])));
  stream.on("data", (d) => (state.got += d));
  stream.on("end", () => (state.ended = true));
  stream.on("error", () => (state.failed = true));
  stream.on("close", () => (state.ended = true));
  if (body) stream.end(body);
  return state;
}

async function run(cmd: string[]): Promise<string> {
  const child = Bun.spawn(cmd, { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return out || err;
}

const curl = Bun.which("curl");
describe.skipIf(!curl)(curl ? "curl" : "curl (not on PATH)", () => {
  const base = (...args: string[]) => ["curl", "-sS", "--max-time", "20", "--cacert", join(dir, "authority.crt"), ...args];
  for (const version of ["1.1", "2"]) {
    test(`HTTP/${version}: shows its certificate, sends a body, gets 413 for one that is too long`, async () => {
      const flags = [`--http${version}`, "-w", " %{http_version} %{http_code}"];
      const cert = ["--cert", join(dir, "jane.crt"), "--key", join(dir, "jane.key")];
      const who = await run([...base(...flags, ...cert), `https://127.0.0.1:${port}/who`]);
      expect(who).toMatch(/^\{"subject":\{.*"CN":"jane".*\},"error":null,"remote":"127\.0\.0\.1:\d+"\} (1\.1|2) 200$/);
      expect(who).toContain(` ${version} 200`);
      const file = join(dir, `body-${version}`);
      writeFileSync(file, "x".repeat(1000));
      expect(await run([...base(...flags, "--data-binary", `@${file}`), `https://127.0.0.1:${port}/limited`])).toBe(`1000 ${version} 200`);
      writeFileSync(file, "x".repeat(5_000_000));
      // With its length told, and without.
      for (const more of [
        ["--expect100-timeout", "20"],
        ["-H", "transfer-encoding: chunked"],
        ["-H", "expect: 100-continue"],
        ["-H", "expect:"],
      ]) {
        const answer = await run([...base(...flags, ...more, "--data-binary", `@${file}`), `https://127.0.0.1:${port}/limited`]);
        expect(answer).toStartWith(`too large ${version} 413`);
      }
    });
  }
});

const nghttp = Bun.which("nghttp");
test.skipIf(!nghttp)(`nghttp gets an answer${nghttp ? "" : " (nghttp is not on PATH)"}`, async () => {
  const out = await run(["nghttp", "-n", "-v", "--no-verify-peer", `https://127.0.0.1:${port}/who`]);
  expect(out).toContain("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):100");
  expect(out).toContain(":status: 200");
});

test("a connection's certificate counts for all its requests, and one that is wrong is told and counts for none", async () => {
  const request = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n";
  const last = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  for (const [client, subject, error] of [
    [jane, { CN: "jane", O: ["dev", "ops"] }, null],
    [stranger, null, expect.any(String)],
    [undefined, null, null],
  ] as const) {
    const one = await wire({ client });
    one.socket.write(request + request + last);
    await until(() => one.ended);
    const bodies = one.got.match(/\{.*\}/g)!.map((b) => JSON.parse(b));
    expect(bodies).toHaveLength(3);
    const two = await session(port, client);
    const asked = [ask(two, "/who"), ask(two, "/who")];
    await until(() => asked.every((a) => a.ended));
    for (const body of [...bodies, ...asked.map((a) => JSON.parse(a.got))]) expect(body).toMatchObject({ subject, error });
    two.destroy();
    one.socket.destroy();
  }
});

test("requests that are malformed get 400 over HTTP/1.1, and the connection ends", async () => {
  for (const bytes of [
    "GARBAGE\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "POST /limited HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01",
  ]) {
    expect(await talk(bytes + (bytes.startsWith("\x16") ? "\r\n\r\n" : ""))).toStartWith("HTTP/1.1 400 Bad Request\r\n");
  }
});

test("a handler that throws gives 500; a writer that throws breaks the answer off", async () => {
  const two = await session();
  for (const [path, status] of [
    ["/throws", 500],
    ["/throws-late", 200],
  ] as const) {
    const got = await talk(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(got).toStartWith(`HTTP/1.1 ${status} `);
    expect(got).not.toContain("0\r\n\r\n0");
    if (status === 200) expect(got).toEndWith("4\r\npart\r\n");
    const asked = ask(two, path);
    await until(() => asked.ended);
    expect(asked.status).toBe(status);
    expect(asked.failed).toBe(status === 200);
  }
  two.destroy();
});

test("no value of a field ends its line", async () => {
  const got = await talk("GET /headers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const utf8 = Buffer.from(got, "latin1").toString();
  expect(utf8).toContain('\r\nwarning: 299 - "spec.č  evil: 1"\r\nwarning: 299 - two\r\nx-latin: ĊČ'.slice(0, 40));
  expect(utf8).toContain("\r\nx-latin: \u010a\u010d\r\n");
  expect(got.match(/^evil/m)).toBeNull();
});

test("an answer that does not read the body leaves the connection usable, or closes it", async () => {
  const next = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  const short = await talk(`POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(100_000)}${next}`);
  expect(short).toMatch(/^HTTP\/1\.1 401 [\s\S]*HTTP\/1\.1 200 /);
  const long = await talk(`POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(1_000_000)}${next}`);
  expect(long).toStartWith("HTTP/1.1 401 ");
  expect(long).not.toContain("HTTP/1.1 200 ");
});

test("a body that does not come in time is not waited for", async () => {
  const w = await wire();
  w.socket.write("POST /hurried HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nslow");
  await until(() => w.got.includes("within requested timeout"));
  w.socket.destroy();
});

test("a client that closes its half gets its answer; a watch ends", async () => {
  const w = await wire();
  w.socket.end("GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => w.ended);
  expect(w.got).toStartWith("HTTP/1.1 200 OK\r\n");
  const before = seen.ended;
  const watch = await wire();
  watch.socket.write("GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => watch.got.includes("\r\n\r\n"));
  watch.socket.end();
  await until(() => seen.ended === before + 1);
});

test("a thousand watches on one connection all hear of everything, and end with it", async () => {
  await using many = await start({ maxStreams: 1000 });
  const before = { ...seen };
  const two = await session(many.port);
  two.setMaxListeners(0);
  const watches = Array.from({ length: 1000 }, () => ask(two, "/ticks"));
  await until(() => seen.streams === before.streams + 1000);
  for (let i = 1; i <= 3; i++) {
    const now = tick;
    tick = Promise.withResolvers();
    now.resolve();
    await until(() => watches.every((w) => w.got === "tick\n".repeat(i)));
  }
  // One more is refused, and nothing else suffers.
  two.destroy();
  await until(() => seen.ended === before.ended + 1000);
});

for (const version of [1, 2]) {
  test(`HTTP/${version}: who does not read stops who writes, and its end ends that`, async () => {
    const before = { ...seen };
    let gone: () => void;
    if (version === 1) {
      const w = await wire();
      w.socket.pause();
      w.socket.write("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
      gone = () => w.socket.destroy();
    } else {
      const two = await session();
      two
        .request({ ":path": "/flood" })
        .on("error", () => {})
        .pause();
      gone = () => two.destroy();
    }
    // Blocked, and not by the size of a buffer that grows.
    await until(() => seen.blocked > before.blocked);
    let written = -1;
    for (let same = 0; same < 10; same = seen.written === written ? same + 1 : 0) {
      written = seen.written;
      await Bun.sleep(20);
    }
    expect((written - before.written) * quarter.length).toBeLessThan(64 * 1024 * 1024);
    expect(seen.ended).toBe(before.ended);
    gone();
    await until(() => seen.ended === before.ended + 1);
  });
}

test("clients that are killed while they are sent to leave nothing behind", async () => {
  const before = { ...seen };
  const children = Array.from({ length: 8 }, (_, i) =>
    Bun.spawn(["curl", "-sSk", "--limit-rate", i % 2 ? "100M" : "1K", i % 3 ? "--http2" : "--http1.1", `https://127.0.0.1:${port}/flood`], {
      stdout: "ignore",
      stderr: "ignore",
    }),
  );
  await until(() => seen.streams === before.streams + 8);
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map((c) => c.exited));
  await until(() => seen.ended === before.ended + 8);
});

test("a large answer comes whole to slow and fast readers", async () => {
  const w = await wire();
  w.socket.write("GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  w.socket.pause();
  await Bun.sleep(50);
  w.socket.resume();
  const two = await session();
  const asked = ask(two, "/large");
  await until(() => w.ended && asked.ended);
  expect(w.got.slice(w.got.indexOf("\r\n\r\n") + 4)).toHaveLength(8 * 1024 * 1024);
  expect(asked.got).toHaveLength(8 * 1024 * 1024);
  two.destroy();
});

describe("a connection that becomes another protocol", () => {
  const upgrade = "GET /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
  test("carries what follows both ways, from the first byte, in any amount", async () => {
    const before = seen.tunnels;
    const w = await wire();
    w.socket.write(`GET /who HTTP/1.1\r\nHost: a\r\n\r\n${upgrade}first`);
    await until(() => w.got.endsWith("first"));
    expect(w.got).toMatch(/^HTTP\/1\.1 200 [\s\S]*\}HTTP\/1\.1 101 Switching Protocols\r\nupgrade: spdy\/3\.1\r\n[\s\S]*\r\n\r\nfirst$/);
    const head = w.got.length;
    const sent = "0123456789abcdef".repeat(512 * 1024);
    w.socket.write(sent);
    await until(() => w.got.length === head + sent.length);
    expect(w.got.endsWith(sent)).toBe(true);
    // Each half ends by itself: what is under way arrives.
    w.socket.end("last");
    await until(() => w.ended);
    expect(w.got).toEndWith("last");
    await until(() => seen.tunnels === before);
  });
  test("is read no faster than it is written", async () => {
    const before = seen.tunnels;
    const w = await wire();
    w.socket.write(upgrade);
    await until(() => seen.tunnels === before + 1);
    w.socket.pause();
    const chunk = new Uint8Array(1024 * 1024);
    let sent = 0;
    const pump = (): void => {
      while (sent < 200) if (!w.socket.write(chunk, () => sent++)) return void w.socket.once("drain", pump);
    };
    pump();
    let stuck = -1;
    for (let same = 0; same < 10; same = sent === stuck ? same + 1 : 0) {
      stuck = sent;
      await Bun.sleep(20);
    }
    expect(stuck).toBeLessThan(64);
    w.socket.destroy();
    await until(() => seen.tunnels === before);
  });
  test("ends with the port", async () => {
    await using own = await start();
    const before = seen.tunnels;
    const w = await wire({ at: own.port });
    w.socket.write(upgrade);
    await until(() => seen.tunnels === before + 1);
    await own.listener.close(50);
    await until(() => w.ended && seen.tunnels === before);
  });
});

test("idle connections, and those that never ask, are ended", async () => {
  // Long enough for a busy machine to bring a request that is sent at once.
  await using own = await start({ idleTimeout: 1000, headTimeout: 1000 });
  const says = async (what: string) => {
    const w = await wire({ at: own.port });
    w.socket.write(what);
    return w;
  };
  const [silent, silent2] = [await wire({ at: own.port }), await wire({ at: own.port, alpn: "h2" })];
  const [idle, slow] = [await says("GET /who HTTP/1.1\r\nHost: a\r\n\r\n"), await says("GET /who HTTP/1.1\r\nHost:")];
  const two = await session(own.port);
  let warned = false;
  two.on("goaway", (code) => (warned = code === 0));
  // A watch is not idle, however long nothing happens.
  const watching = await session(own.port);
  const watch = ask(watching, "/ticks");
  await until(() => [silent, silent2, idle, slow].every((w) => w.ended) && two.closed);
  expect(idle.got).toStartWith("HTTP/1.1 200 ");
  expect(warned).toBe(true);
  await until(() => watch.status === 200);
  const now = tick;
  tick = Promise.withResolvers();
  now.resolve();
  await until(() => watch.got === "tick\n");
  watching.destroy();
  for (const w of [silent, silent2, idle, slow]) w.socket.destroy();
});

test("a port that closes says so, lets answers end, and cuts off what has no end", async () => {
  const release = Promise.withResolvers<void>();
  const own = await start({
    handler: async (request) => (request.target === "/slow" ? release.promise.then(() => text(200, "whole")) : handler(request)),
  });
  const two = await session(own.port);
  let goaway = false;
  two.on("goaway", () => (goaway = true));
  const [slow, watch] = [ask(two, "/slow"), ask(two, "/ticks")];
  const one = await wire({ at: own.port });
  one.socket.write("GET /who HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => watch.status === 200 && one.got.endsWith("}"));
  const closed = own.listener.close(3000);
  await until(() => goaway);
  release.resolve();
  await until(() => slow.ended && one.ended);
  expect(slow.got).toBe("whole");
  expect(one.got).toContain("connection: close\r\n");
  expect(one.got).toEndWith("whole");
  await closed;
  await until(() => watch.ended);
  await expect(wire({ at: own.port })).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test("by chance, a client is asked to connect anew, and its requests are answered", async () => {
  await using own = await start({ goawayChance: 1 });
  const two = await session(own.port);
  let code = -1;
  two.on("goaway", (c) => (code = c));
  const asked = ask(two, "/who");
  await until(() => asked.ended && two.closed);
  expect([asked.status, code]).toEqual([200, 0]);
  // HTTP/1.1 has no such thing.
  const w = await wire({ at: own.port });
  w.socket.write("GET /who HTTP/1.1\r\nHost: a\r\n\r\nGET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  await until(() => w.ended);
  expect(w.got.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
});

test("a handler that takes too long is answered in its place, and a reader that takes too long is broken off", async () => {
  let asked = 0;
  let open = 0;
  await using own = await start({
    requestTimeout: 200,
    late: () => text(504, "too late"),
    handler(request) {
      asked++;
      open++;
      request.onDone = () => open--;
      // A stream of an unhurried one has all the time it wants.
      request.unhurried = request.target === "/ticks";
      return handler(request);
    },
  });
  const two = await session(own.port);
  const [stuck, watch] = [ask(two, "/stuck"), ask(two, "/ticks")];
  const one = await wire({ at: own.port });
  one.socket.write("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => stuck.ended && one.got.includes("\r\n\r\n"));
  expect([stuck.status, stuck.got]).toEqual([504, "too late"]);
  expect(one.got).toMatch(/^HTTP\/1\.1 504 [\s\S]*too late$/);
  // 8 MB that nobody reads.
  const slow = ask(two, "/large");
  slow.stream.pause();
  const blocked = await wire({ at: own.port });
  blocked.socket.pause();
  blocked.socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => asked === 5 && open === 1);
  slow.stream.resume();
  blocked.socket.resume();
  await until(() => slow.ended && blocked.ended);
  expect(slow.failed).toBe(true);
  expect(slow.got.length).toBeLessThan(8 * 1024 * 1024);
  expect(blocked.got.length).toBeLessThan(8 * 1024 * 1024);
  expect([watch.status, watch.ended]).toEqual([200, false]);
  two.destroy();
  blocked.socket.destroy();
  one.socket.destroy();
  await until(() => open === 0);
});

test("an answer is done when its client has taken it, and not before", async () => {
  const done: number[] = [];
  await using own = await start({
    handler(request) {
      request.onDone = (bytes) => done.push(bytes);
      return handler(request);
    },
  });
  const two = await session(own.port);
  const slow = ask(two, "/large");
  slow.stream.pause();
  const quick = ask(two, "/who");
  await until(() => quick.ended && slow.status === 200);
  expect(done).toEqual([quick.got.length]);
  slow.stream.resume();
  await until(() => slow.ended);
  expect(slow.got).toHaveLength(8 * 1024 * 1024);
  await until(() => done.length === 2);
  expect(done[1]).toBe(8 * 1024 * 1024);
  two.destroy();
});

test("gzip is given to who asks for it by that word", async () => {
  const two = await session();
  for (const [accept, encoding] of [
    ["deflate, gzip", "gzip"],
    ["gzip;q=0", undefined],
    ["br", undefined],
  ] as const) {
    const stream = two.request({ ":path": "/large", "accept-encoding": accept });
    const got = await new Promise((resolve) => stream.once("response", (h) => resolve(h["content-encoding"])));
    expect(got as string | undefined).toBe(encoding);
    stream.resume();
  }
  two.destroy();
});
