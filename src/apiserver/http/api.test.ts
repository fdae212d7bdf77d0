// What clients rely on of the REST API that kubectl does not show.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:http2";
import { HttpTransport } from "../../client/http.ts";
import { startApiServer, type TestApiServer } from "../../testing/api-server.ts";

let s: TestApiServer;
beforeAll(async () => {
  s = await startApiServer({ maxRequestsInFlight: 400 });
  for (let i = 0; i < 3; i++)
    await call("POST", "/api/v1/namespaces/default/configmaps", { metadata: { name: `m${i}` }, data: { k: "v".repeat(100) } });
});
afterAll(async () => {
  await s?.[Symbol.asyncDispose]();
});

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const { cert, key } = s.admin;
  const response = await fetch(s.server + path, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    tls: { ca: s.ca, cert, key },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
}

test("a table, partial objects, YAML and pretty JSON are given to those who ask", async () => {
  const table = await call("GET", "/api/v1/namespaces/default/configmaps", undefined, {
    accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
  });
  expect(table.json()).toMatchObject({ kind: "Table", rows: [{ cells: ["m0", 1, expect.any(String)] }, {}, {}] });
  const partial = await call("GET", "/api/v1/namespaces/default/configmaps/m1", undefined, {
    accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
  });
  expect(partial.json()).toMatchObject({ kind: "PartialObjectMetadata", metadata: { name: "m1" } });
  expect(partial.json().data).toBeUndefined();
  const yaml = await call("GET", "/api/v1/namespaces/default/configmaps/m1", undefined, { accept: "application/yaml" });
  expect(yaml.headers.get("content-type")).toBe("application/yaml");
  expect(yaml.text).toContain("kind: ConfigMap\n");
  expect((await call("GET", "/api/v1/namespaces/default?pretty=true")).text).toContain('\n  "kind": "Namespace"');
  expect((await call("GET", "/api/v1/namespaces/default", undefined, { accept: "image/png" })).status).toBe(406);
});

test("protobuf bodies and answers carry the same object", async () => {
  const { decodeProtobuf, builtinMessage } = await import("../../api/codec/protobuf.ts");
  const { cert, key } = s.admin;
  const accept = { accept: "application/vnd.kubernetes.protobuf" };
  const get = async (path: string) =>
    decodeProtobuf(
      new Uint8Array(await (await fetch(s.server + path, { headers: accept, tls: { ca: s.ca, cert, key } })).arrayBuffer()),
      builtinMessage,
    );
  expect(await get("/api/v1/namespaces/default/configmaps/m0")).toMatchObject({ kind: "ConfigMap", metadata: { name: "m0" } });
  const list = (await get("/api/v1/namespaces/default/configmaps")) as { kind: string; items: { metadata: { name: string } }[] };
  expect([list.kind, ...list.items.map((i) => i.metadata.name)]).toEqual(["ConfigMapList", "m0", "m1", "m2"]);
});

test("CBOR bodies, answers and watches carry the same object", async () => {
  const { decodeCbor, decodeCborSequence, encodeCbor } = await import("../../api/codec/cbor.ts");
  const { cert, key } = s.admin;
  const tls = { ca: s.ca, cert, key };
  const path = `${s.server}/api/v1/namespaces/default/configmaps`;
  const cbor = "application/cbor";
  const body = encodeCbor({ kind: "ConfigMap", apiVersion: "v1", metadata: { name: "binary" }, data: { a: "b" } });
  const made = await fetch(path, { method: "POST", headers: { "content-type": cbor, accept: cbor }, body, tls });
  expect(decodeCbor(new Uint8Array(await made.arrayBuffer()))).toMatchObject({ metadata: { name: "binary" }, data: { a: "b" } });
  const watched = await fetch(`${path}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dbinary`, { headers: { accept: cbor }, tls });
  expect(decodeCborSequence(new Uint8Array(await watched.arrayBuffer()))).toMatchObject([{ type: "ADDED", object: { data: { a: "b" } } }]);
  await call("DELETE", "/api/v1/namespaces/default/configmaps/binary");
});

test("large answers are compressed for those who take that", async () => {
  const body = { metadata: { name: "large" }, data: { k: "x".repeat(300_000) } };
  await call("POST", "/api/v1/namespaces/default/configmaps", body);
  const zipped = await call("GET", "/api/v1/namespaces/default/configmaps/large", undefined, { "accept-encoding": "gzip" });
  expect(zipped.headers.get("content-encoding")).toBe("gzip");
  expect(zipped.json().data.k).toHaveLength(300_000);
  await call("DELETE", "/api/v1/namespaces/default/configmaps/large");
});

test("bodies that are too long, of no known type, or no JSON are refused", async () => {
  const path = "/api/v1/namespaces/default/configmaps";
  expect(await call("POST", path, "x".repeat(3 * 1024 * 1024 + 1))).toMatchObject({ status: 413 });
  expect((await call("POST", path, "{}", { "content-type": "text/plain" })).status).toBe(415);
  expect((await call("POST", path, "{")).json()).toMatchObject({ code: 400, reason: "BadRequest" });
  expect((await call("PATCH", `${path}/m0`, "{}")).status).toBe(415);
  expect((await call("POST", path, { kind: "Pod", apiVersion: "v1", metadata: { name: "p" } })).json().message).toContain(
    "unknown conversion",
  );
  expect((await call("POST", path, { apiVersion: "v2", metadata: { name: "p" } })).json().message).toBe(
    "the API version in the data (v2) does not match the expected API version (v1)",
  );
  expect((await call("POST", path, { metadata: { name: "p", namespace: "other" } })).json().message).toBe(
    "the namespace of the provided object does not match the namespace sent on the request",
  );
});

test("lists say what they can't do in upstream's words", async () => {
  const pods = "/api/v1/namespaces/default/pods";
  expect((await call("GET", `${pods}?fieldSelector=spec.color%3Dred`)).json().message).toContain("field label not supported: spec.color");
  expect((await call("GET", `${pods}?labelSelector=a%20b`)).status).toBe(400);
  expect((await call("GET", `${pods}?resourceVersion=x`)).status).toBe(422);
  expect((await call("GET", `${pods}?continue=rubbish`)).status).toBe(400);
  const future = await call("GET", `${pods}?resourceVersion=99999999`);
  expect([future.status, future.json().message]).toEqual([504, expect.stringContaining("Too large resource version: 99999999")]);
}, 10_000);

test("preconditions of a deletion hold, and a deletion answers with a Status", async () => {
  const path = "/api/v1/namespaces/default/configmaps/once";
  const made = (await call("POST", "/api/v1/namespaces/default/configmaps", { metadata: { name: "once" } })).json();
  const refused = await call("DELETE", path, { preconditions: { uid: "other" } });
  expect([refused.status, refused.json().message]).toEqual([
    409,
    expect.stringContaining("Precondition failed: UID in precondition: other"),
  ]);
  const gone = await call("DELETE", path, { preconditions: { uid: made.metadata.uid } });
  expect(gone.json()).toMatchObject({
    kind: "Status",
    status: "Success",
    details: { name: "once", kind: "configmaps", uid: made.metadata.uid },
  });
});

test("deletecollection takes what a selector names", async () => {
  for (const name of ["d1", "d2"]) await call("POST", "/api/v1/namespaces/default/configmaps", { metadata: { name, labels: { d: "1" } } });
  const answer = await call("DELETE", "/api/v1/namespaces/default/configmaps?labelSelector=d%3D1");
  expect(answer.json().items).toHaveLength(2);
  expect((await call("GET", "/api/v1/namespaces/default/configmaps?labelSelector=d%3D1")).json().items).toEqual([]);
});

test("a streaming list ends its first part with a marked bookmark", async () => {
  const { cert, key } = s.admin;
  const abort = new AbortController();
  const query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
  const response = await fetch(`${s.server}/api/v1/namespaces/default/configmaps?${query}`, {
    tls: { ca: s.ca, cert, key },
    signal: abort.signal,
  });
  let text = "";
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  while (!text.includes("initial-events-end")) text += decoder.decode((await reader.read()).value);
  abort.abort();
  const events = text
    .trim()
    .split("\n")
    .map((l) => JSON.parse(l));
  expect(events.map((e) => e.type)).toEqual(["ADDED", "ADDED", "ADDED", "BOOKMARK"]);
});

test("a watch over HTTP/2 shares a connection with requests, and outlives silence", async () => {
  const { cert, key } = s.admin;
  const session = connect(s.server, { ca: s.ca, cert, key });
  const watch = (seconds: number) => session.request({ ":path": `/api/v1/namespaces/default/secrets?watch=1&timeoutSeconds=${seconds}` });
  const [stream, brief] = [watch(60), watch(1)];
  let text = "";
  const told = new Promise<void>((resolve) =>
    stream.on("data", (d) => {
      text += d;
      if (text.includes("\n")) resolve();
    }),
  );
  // One ends at its time, the other on the same connection is not ended by that.
  const ended = new Promise<void>((resolve) => brief.resume().on("end", () => resolve()));
  await new Promise<void>((resolve) => stream.on("response", () => resolve()));
  await ended;
  await call("POST", "/api/v1/namespaces/default/secrets", { metadata: { name: "s" }, stringData: { a: "b" } });
  await told;
  session.destroy();
  const event = JSON.parse(text.split("\n")[0]!);
  expect([event.type, event.object.data]).toEqual(["ADDED", { a: Buffer.from("b").toString("base64") }]);
});

test("the client's HTTP transport gets what the direct one gets", async () => {
  const { cert, key } = s.admin;
  const http = new HttpTransport({ server: s.server, ca: s.ca, cert, key });
  const direct = s.api.transport({ name: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] });
  const target = { group: "", version: "v1", resource: "configmaps", namespace: "default" };
  expect((await http.list(target)).items).toEqual((await direct.list(target)).items);
  const made = await http.create(target, { metadata: { generateName: "made-" } });
  expect(made.metadata.name).toMatch(/^made-[a-z0-9]{5}$/);
  expect(await direct.get({ ...target, name: made.metadata.name! })).toEqual(made);
  expect(await direct.raw("/version")).toEqual(await http.raw("/version"));
  await direct.delete({ ...target, name: made.metadata.name! });
  await expect(http.get({ ...target, name: made.metadata.name! })).rejects.toMatchObject({ reason: "NotFound" });
});

test("what is too much at once is told to come back", async () => {
  const { InFlight } = await import("./inflight.ts");
  const gate = new InFlight(1, 1);
  const leave = gate.enter(false);
  expect(() => gate.enter(false)).toThrow("Too many requests, please try again later.");
  leave();
  gate.enter(false)();
});
