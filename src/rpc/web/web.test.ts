// gRPC-Web and Connect, spoken by @connectrpc/connect-web, fetch and curl, on the port of native gRPC.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect as dial } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectError, createClient as createConnectClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { connect, createClient } from "../client.ts";
import { KV, Maintenance, RangeRequestSchema } from "../gen/etcd/rpc_pb.ts";
import { createRpcServer, type RpcListener, service } from "../server.ts";
import { Code, RpcError } from "../types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

let listener: RpcListener;
let base: string;
beforeAll(async () => {
  listener = await createRpcServer({
    fetch: (request) =>
      new URL(request.url).pathname === "/health" ? Response.json({ health: "true" }) : new Response("nothing", { status: 404 }),
    services: [
      service(KV, {
        range({ key, limit }, context) {
          if (limit === 7n) throw new RpcError(Code.FailedPrecondition, "ünlucky 100%", { metadata: new Headers({ "x-why": "seven" }) });
          context.responseHeaders.set("x-head", context.requestHeaders.get("x-ask") ?? "none");
          context.responseTrailers.set("x-tail", "end");
          return { kvs: [{ key, value: new Uint8Array(Number(limit)) }], count: 1n };
        },
      }),
      service(Maintenance, {
        async *snapshot(_, { requestHeaders }) {
          for (let i = 0; i < 100; i++) yield { remainingBytes: BigInt(100 - i), blob: new Uint8Array(20_000) };
          if (requestHeaders.get("x-fail")) throw new RpcError(Code.DataLoss, "lost");
        },
      }),
    ],
  }).listen({ host: "127.0.0.1", port: 0 });
  base = `http://127.0.0.1:${(listener.address as { port: number }).port}`;
});
afterAll(() => listener.close());

const transports: [string, () => Transport][] = [
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: base })],
  ["Connect with protobuf", () => createConnectTransport({ baseUrl: base, useBinaryFormat: true })],
  ["Connect with JSON", () => createConnectTransport({ baseUrl: base, useBinaryFormat: false })],
];

for (const [name, transport] of transports) {
  describe(`connect-web over ${name}`, () => {
    test("a unary call gets its answer, head and trailers", async () => {
      const [heads, tails]: (string | null)[][] = [[], []];
      const answer = await createConnectClient(KV, transport()).range(
        { key: bytes("k"), limit: 100_000n },
        { headers: { "x-ask": "me" }, onHeader: (h) => heads!.push(h.get("x-head")), onTrailer: (t) => tails!.push(t.get("x-tail")) },
      );
      expect([answer.kvs[0]!.value.length, heads, tails]).toEqual([100_000, ["me"], ["end"]]);
    });

    test("an error keeps code, message and metadata", async () => {
      const error = ConnectError.from(
        await createConnectClient(KV, transport())
          .range({ limit: 7n })
          .catch((e) => e),
      );
      expect([error.code as number, error.rawMessage, error.metadata.get("x-why")]).toEqual([
        Code.FailedPrecondition,
        "ünlucky 100%",
        "seven",
      ]);
    });

    test("a stream comes whole, and with its error at the end", async () => {
      const client = createConnectClient(Maintenance, transport());
      let size = 0;
      for await (const { blob } of client.snapshot({})) size += blob.length;
      expect(size).toBe(2_000_000);
      let count = 0;
      try {
        for await (const _ of client.snapshot({}, { headers: { "x-fail": "1" } })) count++;
      } catch (error) {
        expect([count, ConnectError.from(error).code as number, ConnectError.from(error).rawMessage]).toEqual([100, Code.DataLoss, "lost"]);
      }
      expect(count).toBe(100);
    });

    test("a method that is left out is unimplemented", async () => {
      const error = ConnectError.from(
        await createConnectClient(KV, transport())
          .compact({})
          .catch((e) => e),
      );
      expect(error.code as number).toBe(Code.Unimplemented);
    });
  });
}

test("gRPC-Web as text is base64 both ways", async () => {
  const message = toBinary(RangeRequestSchema, create(RangeRequestSchema, { key: bytes("k"), limit: 3n }));
  const body = Buffer.from([0, 0, 0, 0, message.length, ...message]).toString("base64");
  const headers = { "content-type": "application/grpc-web-text" };
  const response = await fetch(`${base}/etcdserverpb.KV/Range`, { method: "POST", headers, body });
  expect(response.headers.get("content-type")).toBe("application/grpc-web-text");
  // The two frames are encoded each by itself.
  const parts = (await response.text()).match(/[^=]+={0,2}/g)!;
  const all = Buffer.concat(parts.map((part) => Buffer.from(part, "base64"))).toString("latin1");
  expect(all).toContain("grpc-status: 0\r\n");
});

test("native gRPC, HTTP/2 and HTTP/1.1 share the port", async () => {
  using channel = connect(listener.address);
  expect((await createClient(KV, channel).range({ key: bytes("n") })).count).toBe(1n);
  const flags = [
    "-s",
    "-w",
    " %{http_version}",
    "-H",
    "content-type: application/json",
    "-d",
    '{"key":"aw=="}',
    `${base}/etcdserverpb.KV/Range`,
  ];
  for (const [flag, version] of [
    ["--http1.1", "1.1"],
    ["--http2-prior-knowledge", "2"],
  ] as const) {
    const text = await new Response(Bun.spawn(["curl", flag, ...flags]).stdout).text();
    expect(text).toBe(`{"kvs":[{"key":"aw=="}],"count":"1"} ${version}`);
  }
});

test("what is no call goes to fetch, and the rest is refused", async () => {
  expect(await (await fetch(`${base}/health`)).json()).toEqual({ health: "true" });
  expect((await fetch(`${base}/other`)).status).toBe(404);
  expect((await fetch(`${base}/etcdserverpb.KV/Range`, { method: "POST", body: "x" })).status).toBe(415);
  expect(
    (await fetch(`${base}/no.Such/Method`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" })).status,
  ).toBe(404);
});

test("requests of HTTP/1.1 follow each other on a connection, in chunks too, and broken ones end it", async () => {
  const talk = async (text: string) => {
    const socket = dial({ host: "127.0.0.1", port: Number(new URL(base).port) });
    let got = "";
    for (const piece of text.match(/[\s\S]{1,7}/g)!) socket.write(piece);
    for await (const chunk of socket) {
      got += chunk;
      if (got.includes("last") || got.includes("connection: close")) break;
    }
    socket.destroy();
    return got;
  };
  const head = "POST /etcdserverpb.KV/Range HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
  const two = await talk(
    `${head}Content-Length: 2\r\n\r\n{}${head}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"lim\r\n6\r\nit":2}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
  );
  expect(two.match(/HTTP\/1\.1 200 OK/g)?.length).toBe(3);
  expect(two).toContain('{"kvs":[{"value":"AAA="}],"count":"1"}');
  const noHost = head.replace("Host: a\r\n", "");
  for (const broken of [
    "GET\r\n\r\n",
    `${noHost}Content-Length: 2\r\n\r\n{}`,
    `${head}Host: b\r\n\r\n`,
    `${head}Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello`,
    `${head}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `${head}bad field\r\n\r\n`,
  ]) {
    expect(await talk(broken)).toStartWith("HTTP/1.1 400 ");
  }
});

test("requests of HTTP/1.1 that come far ahead of their answers are read when those are through", async () => {
  // The first answer is still to come when the rest is there.
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const fetch = async () => {
    asked++;
    await promise;
    return new Response("late");
  };
  const slow = await createRpcServer({ services: [], fetch }).listen({ host: "127.0.0.1", port: 0 });
  const socket = dial({ host: "127.0.0.1", port: (slow.address as { port: number }).port });
  const one = Buffer.from("GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
  const all = 20_000;
  const { promise: answered, resolve: done, reject } = Promise.withResolvers<void>();
  let answers = 0;
  let rest = "";
  socket.on("error", reject).on("close", () => reject(new Error(`closed after ${answers} answers`)));
  socket.on("data", (chunk) => {
    const parts = (rest + chunk).split("HTTP/1.1 200 ");
    answers += parts.length - 1;
    rest = parts.at(-1)!.slice(-20);
    if (answers === all) done();
  });
  socket.write(Buffer.concat(new Array(all).fill(one)));
  while (asked === 0) await Bun.sleep(1);
  resolve();
  await answered;
  expect(asked).toBe(all);
  socket.removeAllListeners("close").destroy();
  await slow.close();
});
