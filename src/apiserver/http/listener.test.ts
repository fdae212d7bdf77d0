import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KeyPair, Pki } from "../../cmd/cluster/pki.ts";
import { bytesResponse, type ClientInfo, type Listener, listen } from "./listener.ts";

let dir: string;
let ca: string;
let jane: KeyPair;
let listener: Listener;
let cancelled = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "kubun-listener-"));
  const pki = await Pki.open(dir);
  ca = pki.ca.cert;
  const serving = await pki.leaf({ name: "s", commonName: "server", hosts: ["localhost", "127.0.0.1"] });
  jane = await pki.leaf({ name: "c", commonName: "jane", organizations: ["dev"] });
  listener = await listen({
    host: "127.0.0.1",
    port: 0,
    tls: { ...serving, clientCa: ca },
    async fetch(request: Request, info: ClientInfo) {
      const { pathname } = new URL(request.url);
      if (pathname === "/who")
        return bytesResponse(Buffer.from(JSON.stringify(info.subject ?? null)), { headers: { "content-type": "application/json" } });
      if (pathname === "/endless") {
        let timer: ReturnType<typeof setInterval>;
        const stream = new ReadableStream({
          start(c) {
            timer = setInterval(() => c.enqueue(Buffer.from("tick\n")), 5);
          },
          cancel() {
            clearInterval(timer);
            cancelled++;
          },
        });
        return new Response(stream);
      }
      return new Response(String((await request.arrayBuffer()).byteLength));
    },
    upgrade: ({ socket }) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
  });
});
afterAll(async () => {
  await listener.close();
  rmSync(dir, { recursive: true });
});

interface Answer {
  status: number;
  body: string;
}

/** A request over HTTP/1.1; `first` resolves with the first chunk and breaks off. */
function one(path: string, options: { body?: Uint8Array; client?: KeyPair; first?: boolean } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = httpsRequest(
      {
        host: "127.0.0.1",
        port: listener.port,
        path,
        method: options.body ? "POST" : "GET",
        ca,
        cert: options.client?.cert,
        key: options.client?.key,
        agent: false,
      },
      (res) => {
        let body = "";
        res.on("data", (d) => {
          body += d;
          if (!options.first) return;
          resolve({ status: res.statusCode!, body });
          req.destroy();
        });
        res.on("end", () => resolve({ status: res.statusCode!, body }));
      },
    );
    req.on("error", (e) => reject(e));
    req.end(options.body);
  });
}

/** The same over HTTP/2. */
function two(path: string, options: { body?: Uint8Array; client?: KeyPair; first?: boolean } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://127.0.0.1:${listener.port}`, { ca, cert: options.client?.cert, key: options.client?.key });
    session.on("error", reject);
    const stream = session.request({ ":path": path, ":method": options.body ? "POST" : "GET" });
    let status = 0;
    let body = "";
    const done = () => {
      resolve({ status, body });
      session.destroy();
    };
    stream.on("response", (h) => {
      status = Number(h[":status"]);
    });
    stream.on("data", (d) => {
      body += d;
      if (options.first) done();
    });
    stream.on("end", done);
    stream.on("error", reject);
    stream.end(options.body);
  });
}

for (const [protocol, send] of [
  ["HTTP/1.1", one],
  ["HTTP/2", two],
] as const) {
  test(`${protocol}: a client is known by its certificate, and unknown without one`, async () => {
    expect(JSON.parse((await send("/who", { client: jane })).body)).toMatchObject({ CN: "jane", O: "dev" });
    expect((await send("/who")).body).toBe("null");
  });
  test(`${protocol}: a large body arrives whole`, async () => {
    expect(await send("/size", { body: new Uint8Array(3_000_000) })).toEqual({ status: 200, body: "3000000" });
  });
  test(`${protocol}: a client that leaves ends the answer it was given`, async () => {
    const before = cancelled;
    expect((await send("/endless", { first: true })).body).toStartWith("tick\n");
    const deadline = Date.now() + 5000;
    while (cancelled === before && Date.now() < deadline) await Bun.sleep(5);
    expect(cancelled).toBe(before + 1);
  });
}

test("a port in use is told", async () => {
  const again = listen({ host: "127.0.0.1", port: listener.port, tls: { ...jane }, fetch: () => new Response(), upgrade: () => {} });
  await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
});
