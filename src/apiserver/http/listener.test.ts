import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KeyPair, Pki } from "../../cmd/cluster/pki.ts";
import type { Incoming } from "./incoming.ts";
import { Listener } from "./listener.ts";
import { json, Reply, text } from "./reply.ts";

let dir: string;
let ca: string;
let jane: KeyPair;
let listener: Listener;
let port = 0;
let cancelled = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "kubun-listener-"));
  const pki = await Pki.open(dir);
  ca = pki.ca.cert;
  const serving = await pki.leaf({ name: "s", commonName: "server", hosts: ["localhost", "127.0.0.1"] });
  jane = await pki.leaf({ name: "c", commonName: "jane", organizations: ["dev"] });
  listener = new Listener({
    host: "127.0.0.1",
    port: 0,
    tls: { ...serving, clientCa: ca },
    async handler(request: Incoming) {
      if (request.target === "/who") return json(200, request.subject ?? null);
      if (request.target === "/endless")
        return new Reply(200, {}, async (sink) => {
          while (!sink.signal.aborted) {
            await sink.write("tick\n");
            await Bun.sleep(5);
          }
          cancelled++;
        });
      return text(200, String((await request.body(10_000_000))?.byteLength));
    },
    upgrade: (_request, socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
  });
  port = await listener.listen();
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
        port,
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
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca, cert: options.client?.cert, key: options.client?.key });
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
    const deadline = Date.now() + 30_000;
    while (cancelled === before && Date.now() < deadline) await Bun.sleep(5);
    expect(cancelled).toBe(before + 1);
  });
}

test("a port in use is told", async () => {
  const again = new Listener({ host: "127.0.0.1", port, tls: { ...jane }, handler: () => text(200, ""), upgrade: () => {} });
  await expect(again.listen()).rejects.toMatchObject({ code: "EADDRINUSE" });
});
