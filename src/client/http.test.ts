// The transport against servers of node:http2, over HTTP/2 and HTTP/1.1, and of node:http.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isNotFound, StatusError } from "../api/status.ts";
import { type TestPki, testPki } from "../testing/certificates.ts";
import { HttpTransport } from "./http.ts";
import { parseKubeconfig } from "./kubeconfig.ts";
import { pods } from "./resources.ts";
import { JsonLines } from "./watch-lines.ts";

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

let pki: TestPki;
let server: { cert: string; key: string };
let dir: string;
const closers: (() => void)[] = [];

beforeAll(async () => {
  pki = await testPki();
  server = await pki.issue("server");
  dir = mkdtempSync(join(tmpdir(), "kubun-client-"));
});
afterAll(() => {
  for (const close of closers) close();
  rmSync(dir, { recursive: true, force: true });
});

async function listen(kind: "https" | "http", handler: Handler): Promise<{ url: string; connections: () => number }> {
  const tls = { ...server, ca: pki.ca, requestCert: true, rejectUnauthorized: false };
  let connections = 0;
  const made = kind === "http" ? createPlainServer(handler) : createSecureServer({ ...tls, allowHTTP1: true }, handler as never);
  made.on(kind === "http" ? "connection" : "secureConnection", () => connections++);
  await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve));
  closers.push(() => made.close());
  return {
    url: `${kind === "http" ? "http" : "https"}://127.0.0.1:${(made.address() as AddressInfo).port}`,
    connections: () => connections,
  };
}

interface Peer {
  getPeerCertificate?(): { subject?: { CN?: string } };
}
const commonName = (req: IncomingMessage) => {
  const h2 = (req as unknown as { stream?: { session?: { socket?: Peer } } }).stream?.session?.socket;
  return (h2 ?? (req.socket as unknown as Peer)).getPeerCertificate?.()?.subject?.CN;
};

const send = (res: ServerResponse, code: number, body: unknown, headers: Record<string, string> = {}) => {
  res.writeHead(code, { "content-type": "application/json", ...headers });
  res.end(JSON.stringify(body));
};

for (const http1 of [false, true]) {
  describe(http1 ? "over HTTP/1.1" : "over HTTP/2", () => {
    test("identifies itself by its own client certificate, also next to another client", async () => {
      const s = await listen("https", (req, res) => send(res, 200, { cn: commonName(req), version: req.httpVersion }));
      const clients = await Promise.all(
        ["alice", "bob"].map(async (cn) => new HttpTransport({ server: s.url, ca: pki.ca, ...(await pki.issue(cn)) }, { http1 })),
      );
      const seen = [];
      for (const c of [...clients, ...clients]) seen.push(((await c.raw("/version")) as { cn: string }).cn);
      expect(seen).toEqual(["alice", "bob", "alice", "bob"]);
      expect(((await clients[0]!.raw("/version")) as { version: string }).version).toBe(http1 ? "1.1" : "2.0");
    });

    test("refuses a server whose authority it does not know", async () => {
      const s = await listen("https", (_, res) => send(res, 200, {}));
      expect(new HttpTransport({ server: s.url }, { http1 }).raw("/version")).rejects.toThrow(/certificate/);
    });

    test("streams a watch line by line, and ends it when aborted", async () => {
      let closed = false;
      const s = await listen("https", (req, res) => {
        if (!req.url?.includes("watch=true")) return send(res, 200, {});
        res.writeHead(200, { "content-type": "application/json" });
        const line = (n: number) =>
          `${JSON.stringify({ type: "ADDED", object: { metadata: { name: `pod-${n}`, resourceVersion: String(n) } } })}\n`;
        res.write(line(1) + line(2).slice(0, 20));
        setTimeout(() => res.write(line(2).slice(20)), 20);
        res.on("close", () => {
          closed = true;
        });
      });
      const c = new HttpTransport({ server: s.url, ca: pki.ca }, { http1 });
      const stop = new AbortController();
      const names: (string | undefined)[] = [];
      for await (const e of c.watch(pods, { resourceVersion: "0" }, stop.signal)) {
        expect(Object.isFrozen(e.object.metadata)).toBe(true);
        names.push(e.object.metadata.name);
        if (names.length === 2) stop.abort();
      }
      expect(names).toEqual(["pod-1", "pod-2"]);
      for (let i = 0; i < 2000 && !closed; i++) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(closed).toBe(true);
    });
  });
}

test("many watches and requests share one HTTP/2 connection", async () => {
  let open = 0;
  const s = await listen("https", (req, res) => {
    if (!req.url?.includes("watch=true")) return send(res, 200, {});
    open++;
    res.writeHead(200);
    res.write(`{"type":"BOOKMARK","object":{"metadata":{}}}\n`);
    res.on("close", () => open--);
  });
  const c = new HttpTransport({ server: s.url, ca: pki.ca });
  await c.raw("/version");
  const stop = new AbortController();
  let seen = 0;
  const watches = Array.from({ length: 40 }, async () => {
    for await (const _ of c.watch(pods, {}, stop.signal)) if (++seen === 40) stop.abort();
  });
  await Promise.all(watches);
  await Promise.all(Array.from({ length: 20 }, () => c.raw("/version")));
  expect(s.connections()).toBe(1);
});

test("a refusal is the Status that the server sent, or made from what a proxy said", async () => {
  const s = await listen("http", (req, res) => {
    if (req.url?.includes("pods")) return send(res, 404, { kind: "Status", reason: "NotFound", message: 'pods "x" not found', code: 404 });
    res.writeHead(502);
    res.end("bad gateway");
  });
  const c = new HttpTransport({ server: s.url });
  const refused = await c.get({ ...pods, namespace: "default", name: "x" }).catch((e: unknown) => e);
  expect(isNotFound(refused)).toBe(true);
  const proxy = await c.raw("/version").catch((e: unknown) => e);
  expect(proxy).toBeInstanceOf(StatusError);
  expect(proxy).toMatchObject({ code: 502, message: "bad gateway" });
});

test("an expired watch throws the Status inside it", async () => {
  const s = await listen("http", (_, res) => send(res, 200, { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }));
  // A watch's lines end with a newline, also the last.
  const c = new HttpTransport({ server: s.url });
  const s2 = await listen("http", (_, res) => res.end(`{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n`));
  const drain = async (t: HttpTransport) => {
    for await (const _ of t.watch(pods, {}, new AbortController().signal));
  };
  expect(drain(new HttpTransport({ server: s2.url }))).rejects.toMatchObject({ code: 410 });
  await drain(c);
});

test("a request that is told to wait is sent again", async () => {
  let n = 0;
  const s = await listen("http", (_, res) =>
    n++ < 2 ? send(res, 429, { kind: "Status", code: 429 }, { "retry-after": "0" }) : send(res, 200, { n }),
  );
  expect(await new HttpTransport({ server: s.url }).raw("/version")).toEqual({ n: 3 });
});

test("the query, body, content type and path of each verb are those of the REST API", async () => {
  const seen: { line: string; type?: string; body: string }[] = [];
  const s = await listen("http", (req, res) => {
    let body = "";
    req.on("data", (d) => {
      body += d;
    });
    req.on("end", () => {
      seen.push({ line: `${req.method} ${req.url}`, type: req.headers["content-type"], body });
      send(res, 200, { kind: "PodList", apiVersion: "v1", metadata: {}, items: [{ metadata: { name: "a" } }] });
    });
  });
  const c = new HttpTransport({ server: s.url });
  const at = { ...pods, namespace: "default", name: "a" };
  await c.patch(at, "apply", { kind: "Pod" }, { fieldManager: "me", force: true });
  await c.patch({ ...at, subresource: "status" }, "strategic", {});
  await c.delete(at, { gracePeriodSeconds: 0, preconditions: { uid: "u" } });
  await c.deleteCollection({ ...pods, namespace: "default" }, { labelSelector: "a=b", propagationPolicy: "Background" });
  const list = await c.list(pods, { labelSelector: "a in (b,c)", limit: 5 });
  expect(list.items[0]).toMatchObject({ kind: "Pod", apiVersion: "v1" });
  expect(seen.map((x) => x.line)).toEqual([
    "PATCH /api/v1/namespaces/default/pods/a?fieldManager=me&force=true",
    "PATCH /api/v1/namespaces/default/pods/a/status",
    "DELETE /api/v1/namespaces/default/pods/a",
    "DELETE /api/v1/namespaces/default/pods?labelSelector=a%3Db",
    "GET /api/v1/pods?labelSelector=a+in+%28b%2Cc%29&limit=5",
  ]);
  expect(seen.slice(0, 2).map((x) => x.type)).toEqual(["application/apply-patch+yaml", "application/strategic-merge-patch+json"]);
  expect(JSON.parse(seen[2]!.body)).toMatchObject({ kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions: { uid: "u" } });
  expect(JSON.parse(seen[3]!.body)).toMatchObject({ propagationPolicy: "Background" });
});

test("a kubeconfig's context gives server, authority, certificate and token; a plugin is refused by name", async () => {
  const alice = await pki.issue("alice");
  const s = await listen("https", (req, res) => send(res, 200, { cn: commonName(req), auth: req.headers.authorization }));
  writeFileSync(join(dir, "ca.crt"), pki.ca);
  writeFileSync(join(dir, "token"), "secret-1\n");
  const b64 = (text: string) => Buffer.from(text).toString("base64");
  const yaml = `
apiVersion: v1
kind: Config
current-context: main
clusters: [{ name: c, cluster: { server: "${s.url}", certificate-authority: ca.crt } }]
users:
- name: alice
  user: { client-certificate-data: ${b64(alice.cert)}, client-key-data: ${b64(alice.key)} }
- name: robot
  user: { tokenFile: token }
- name: cloud
  user: { exec: { command: get-token } }
contexts:
- { name: main, context: { cluster: c, user: alice, namespace: dev } }
- { name: robot, context: { cluster: c, user: robot } }
- { name: cloud, context: { cluster: c, user: cloud } }
`;
  const file = join(dir, "config");
  const main = await parseKubeconfig(yaml, file);
  expect(main.namespace).toBe("dev");
  expect(await new HttpTransport(main).raw("/")).toEqual({ cn: "alice" });
  const robot = new HttpTransport(await parseKubeconfig(yaml, file, { context: "robot" }));
  expect(await robot.raw("/")).toMatchObject({ auth: "Bearer secret-1" });
  expect(parseKubeconfig(yaml, file, { context: "cloud" })).rejects.toThrow(/"get-token".*not supported/);
  expect(parseKubeconfig(yaml, file, { context: "none" })).rejects.toThrow(/context "none" does not exist/);
});

test("lines are whole whatever the chunks", () => {
  const bytes = Buffer.from('{"a":"é"}\n\n{"b":[1,2]}\n{"c":null}\n');
  for (let size = 1; size < bytes.length; size++) {
    const lines = new JsonLines();
    const got: unknown[] = [];
    for (let i = 0; i < bytes.length; i += size) got.push(...lines.push(bytes.subarray(i, i + size)));
    expect(got).toEqual([{ a: "é" }, { b: [1, 2] }, { c: null }]);
  }
});
