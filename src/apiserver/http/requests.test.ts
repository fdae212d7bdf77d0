// Requests as they come over the wire: their targets, HEAD, how long they may
// take, how they are counted, and how a server ends.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ClientHttp2Session, connect } from "node:http2";
import { noKubectl, startApiServer, type TestApiServer } from "../../testing/api-server.ts";
import { MemoryStore } from "../../testing/memory-store.ts";
import { decodePath, resourcePath } from "./path.ts";

let s: TestApiServer;
let session: ClientHttp2Session;

const dial = (to: TestApiServer): ClientHttp2Session => {
  const made = connect(to.server, { ca: to.ca, cert: to.admin.cert, key: to.admin.key });
  made.on("error", () => {});
  return made;
};

beforeAll(async () => {
  s = await startApiServer();
  session = dial(s);
});
afterAll(async () => {
  session?.destroy();
  await s?.[Symbol.asyncDispose]();
});

interface Answer {
  status: number;
  headers: Record<string, unknown>;
  text: string;
}

/** The bytes of a path as they are, which fetch would tidy up. */
function ask(path: string, headers: Record<string, string> = {}, on = session): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = on.request({ ":path": path, ...headers });
    const answer: Answer = { status: 0, headers: {}, text: "" };
    stream.on("response", (h) => Object.assign(answer, { status: Number(h[":status"]), headers: h }));
    stream.on("data", (d) => (answer.text += d));
    stream.on("error", reject);
    stream.on("close", () => resolve(answer));
  });
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await what())) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await Bun.sleep(5);
  }
}

/** The lines of a metric whose labels match. */
async function metric(name: string, labels = ""): Promise<string[]> {
  const { text } = await ask("/metrics");
  return text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
}

test("a path means what it says without its escapes, as in Go", () => {
  expect(decodePath("/api/v1")).toBe("/api/v1");
  expect(decodePath("/%61pi/a%2Fb%c3%a4%ff+")).toBe("/api/a/bä\ufffd+");
  expect(decodePath("/\xc3\xa4")).toBe("/ä");
  expect(() => decodePath("/%zz")).toThrow('invalid URL escape "%zz"');
  expect(() => decodePath("/a%4")).toThrow('invalid URL escape "%4"');
  const proxy = (raw: string) => resourcePath(decodePath(raw), raw)?.rest;
  expect(proxy("/api/v1/namespaces/d/pods/p/proxy/a%2Fb/c%3Fd/")).toBe("/a%2Fb/c%3Fd/");
  expect(proxy("/api/v1/namespaces/d/pods%2Fp/proxy/c%3Fd")).toBe("/c%3Fd");
  expect(resourcePath(decodePath("/api/v1/namespaces/d%2Fpods/p"))).toMatchObject({ namespace: "d", resource: "pods", name: "p" });
});

test("escapes in a path are read before anybody decides on it", async () => {
  expect(await ask("/api/v1/%6eamespaces/default")).toMatchObject({ status: 200 });
  expect(JSON.parse((await ask("/api/v1/namespaces%2fdefault")).text)).toMatchObject({ kind: "Namespace" });
  const wrong = await ask("/api/v1/namespaces/%zz");
  expect(JSON.parse(wrong.text)).toMatchObject({ reason: "BadRequest", message: expect.stringContaining('invalid URL escape "%zz"') });
});

test("documents are found with a slash behind them, and health checks are not", async () => {
  for (const path of ["/api/", "/apis/", "/api/v1/", "/apis/apps/", "/apis/apps/v1/", "/version/"])
    expect(await ask(path)).toMatchObject({ status: 200, text: (await ask(path.slice(0, -1))).text });
  expect((await ask("/healthz/")).status).toBe(404);
});

test("HEAD has the fields of GET and no body, and a watch that is asked for so is over", async () => {
  for (const path of ["/version", "/api/v1/namespaces/default", "/api/v1/namespaces/none"]) {
    const [head, get] = [await ask(path, { ":method": "HEAD" }), await ask(path)];
    for (const name of ["content-type", "content-length"]) expect(head.headers[name]).toBe(get.headers[name]);
    expect([head.status, head.text]).toEqual([get.status, ""]);
  }
  for (let i = 0; i < 20; i++) expect(await ask("/api/v1/secrets?watch=1", { ":method": "HEAD" })).toMatchObject({ status: 200, text: "" });
  await until(async () => (await metric("apiserver_longrunning_requests", 'resource="secrets"')).every((line) => line.endsWith(" 0")));
});

test("a watch is counted while it runs, and as a request when it has ended", async () => {
  const stream = session.request({ ":path": "/api/v1/nodes?watch=1" });
  await new Promise((resolve) => stream.once("response", resolve));
  const labels = 'resource="nodes"';
  expect(await metric("apiserver_longrunning_requests", labels)).toEqual([expect.stringMatching(/verb="WATCH".* 1$/)]);
  expect(await metric("apiserver_request_total", labels)).toEqual([]);
  stream.close(8);
  await until(async () => (await metric("apiserver_request_total", labels)).length === 1);
  expect(await metric("apiserver_longrunning_requests", labels)).toEqual([expect.stringMatching(/ 0$/)]);
});

test("reads are counted with the bytes of their answers", async () => {
  const { text } = await ask("/api/v1/persistentvolumes");
  await until(async () => (await metric("apiserver_response_sizes_count", 'resource="persistentvolumes"')).length === 1);
  expect(await metric("apiserver_response_sizes_sum", 'resource="persistentvolumes"')).toEqual([
    expect.stringMatching(new RegExp(` ${text.length}$`)),
  ]);
});

test("what only a client has thought of makes no labels", async () => {
  const before = (await metric("apiserver_request_total")).length;
  for (let i = 0; i < 20; i++) {
    await ask(`/apis/g${i}.example.com/v${i}/things${i}`);
    await ask(`/api/v1/namespaces/default/pods/p/sub${i}`);
    await ask("/healthz", { ":method": `M${i}` });
  }
  expect((await metric("apiserver_request_total")).length).toBeLessThanOrEqual(before + 3);
  expect(await metric("apiserver_request_total", "example.com")).toEqual([]);
});

test("a request without a path is answered", async () => {
  const stream = session.request({ ":method": "CONNECT", ":authority": "a:1" });
  const status = new Promise((resolve) => stream.once("response", (h) => resolve(h[":status"])));
  stream.on("error", () => {});
  expect(await status).toBe(404);
  stream.close();
});

test("the command of exec may be long: a head of 500 KB is read", async () => {
  const { cert, key } = s.admin;
  const one = await fetch(`${s.server}/version?${"x".repeat(500_000)}`, { tls: { ca: s.ca, cert, key } });
  expect(one.status).toBe(200);
});

const missing = noKubectl();
test.skipIf(missing !== undefined)(`kubectl sends a long one over HTTP/2${missing ? ` (${missing})` : ""}`, async () => {
  expect(await s.kubectl(["get", "--raw", `/version?${"x".repeat(120_000)}`])).toContain('"gitVersion"');
});

/** A store whose answers are held up for as long as a promise is open. */
class HeldStore extends MemoryStore {
  writes: Promise<void> | undefined;
  reads: Promise<void> | undefined;
  /** Writes that were. */
  held = 0;
  override async txn(...args: Parameters<MemoryStore["txn"]>) {
    if (this.writes) this.held++;
    await this.writes;
    return super.txn(...args);
  }
  override async range(...args: Parameters<MemoryStore["range"]>) {
    await this.reads;
    return super.range(...args);
  }
}

/** A namespace being created. */
function creating(client: ClientHttp2Session, name: string) {
  const stream = client.request({ ":path": "/api/v1/namespaces", ":method": "POST", "content-type": "application/json" });
  stream.on("error", () => {}).end(JSON.stringify({ metadata: { name } }));
  return stream;
}

test("a server that ends says so, goes on for a while, ends watches cleanly and answers what it was asked", async () => {
  const store = new HeldStore();
  const own = await startApiServer({ store, shutdownDelay: 2000 });
  const client = dial(own);
  let goaway = false;
  client.on("goaway", () => (goaway = true));
  const watching = client.request({ ":path": "/api/v1/nodes?watch=1" });
  let whole = false;
  watching.on("end", () => (whole = true)).resume();
  await new Promise((resolve) => watching.once("response", resolve));
  const release = Promise.withResolvers<void>();
  store.writes = release.promise;
  const stream = creating(client, "late");
  const created = new Promise((resolve) => stream.once("response", (h) => resolve(h[":status"])));
  await until(() => store.held > 0);
  const since = performance.now();
  const ended = own.api.stop();
  const asked = ["/readyz", "/livez", "/api/v1/namespaces/default"].map((path) => ask(path, {}, client));
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([500, 200, 200]);
  await until(() => goaway);
  expect(performance.now() - since).toBeGreaterThanOrEqual(1999);
  // It ends rather than breaks.
  await until(() => whole);
  release.resolve();
  expect(await created).toBe(201);
  await ended;
  client.destroy();
  await own[Symbol.asyncDispose]();
});

test("a server whose store has gone does not wait for those who wait for it", async () => {
  const store = new HeldStore();
  const own = await startApiServer({ store, requestTimeout: 3_600_000 });
  const client = dial(own);
  store.writes = store.reads = new Promise<never>(() => {});
  const stream = creating(client, "never");
  await until(() => store.held > 0);
  let closed = false;
  stream.on("close", () => (closed = true));
  await own.api.stop();
  await until(() => closed);
  client.destroy();
  await own[Symbol.asyncDispose]();
});
