// The corners of Connect and gRPC-Web: GET, error details, compression, versions, other origins.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { create, createFileRegistry, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, MethodOptions_IdempotencyLevel, StringValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient as createConnectClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { connect, createClient } from "../client.ts";
import { KV, Maintenance, RangeRequestSchema, RangeResponseSchema } from "../gen/etcd/rpc_pb.ts";
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  file_grpc_health_v1_health as healthFile,
} from "../gen/grpc/health/v1/health_pb.ts";
import { createRpcServer, type RpcListener, service } from "../server.ts";
import { Code, RpcError } from "../types.ts";

/** Health, whose Check is declared to have no side effects. */
const health: DescService = (() => {
  const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, healthFile.proto));
  const check = proto.service[0]!.method.find(({ name }) => name === "Check")!;
  check.options = { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS } as never;
  return createFileRegistry(proto, () => undefined).getService("grpc.health.v1.Health")!;
})();

const detail = { type: "google.protobuf.StringValue", value: toBinary(StringValueSchema, create(StringValueSchema, { value: "why" })) };
const asked: string[] = [];
let listener: RpcListener;
let base: string;
beforeAll(async () => {
  listener = await createRpcServer({
    compressFrom: 1000,
    cors: ["https://page.example"],
    services: [
      {
        desc: health,
        impl: {
          check({ service: name }: { service: string }) {
            asked.push(name);
            return { status: name.length };
          },
        },
      },
      service(KV, {
        range({ key, limit }) {
          if (limit === 7n) throw new RpcError(Code.ResourceExhausted, "quota", { details: [detail] });
          return { kvs: [{ key, value: new Uint8Array(Number(limit)) }] };
        },
      }),
      service(Maintenance, {
        async *snapshot() {
          for (let i = 0; i < 3; i++) yield { blob: new Uint8Array(10_000) };
          throw new RpcError(Code.DataLoss, "lost", { details: [detail] });
        },
      }),
    ],
  }).listen({ host: "127.0.0.1", port: 0 });
  base = `http://127.0.0.1:${(listener.address as { port: number }).port}`;
});
afterAll(() => listener.close());

describe("Connect by GET", () => {
  for (const useBinaryFormat of [true, false]) {
    test(`is what connect-web sends for a method without side effects, as ${useBinaryFormat ? "protobuf" : "JSON"}`, async () => {
      const methods: string[] = [];
      const spy = ((url: string, init: RequestInit) => {
        methods.push(init.method!);
        return fetch(url, init);
      }) as typeof fetch;
      const transport = createConnectTransport({ baseUrl: base, useBinaryFormat, useHttpGet: true, fetch: spy });
      const client = createConnectClient(health, transport) as unknown as Record<string, (m: object) => Promise<{ status: number }>>;
      expect((await client.check!({ service: "é" })).status).toBe(1);
      expect([methods, asked.at(-1)]).toEqual([["GET"], "é"]);
    });
  }

  const get = (query: string, path = "/grpc.health.v1.Health/Check") => fetch(`${base}${path}?${query}`);

  test("takes the message plain, in base64 and compressed", async () => {
    const json = encodeURIComponent('{"service":"x"}');
    expect(await (await get(`connect=v1&encoding=json&message=${json}`)).json()).toEqual({ status: "SERVING" });
    const binary = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: "abc" }));
    for (const [message, more] of [
      [binary, ""],
      [gzipSync(binary), "&compression=gzip"],
    ] as const) {
      const response = await get(`encoding=proto&base64=1${more}&message=${Buffer.from(message).toString("base64url")}`);
      expect(response.headers.get("content-type")).toBe("application/proto");
      expect(fromBinary(HealthCheckResponseSchema, await response.bytes()).status as number).toBe(3);
    }
  });

  test("is refused for other methods, encodings and messages", async () => {
    const other = await get("encoding=json&message=%7B%7D", "/etcdserverpb.KV/Range");
    expect([other.status, other.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await get("encoding=xml&message=")).status).toBe(415);
    const wrong = await get("encoding=json&message=%7B");
    expect([wrong.status, (await wrong.json()).code]).toEqual([400, "invalid_argument"]);
  });
});

const transports: [string, () => Transport][] = [
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: base })],
  ["Connect with protobuf", () => createConnectTransport({ baseUrl: base, useBinaryFormat: true })],
  ["Connect with JSON", () => createConnectTransport({ baseUrl: base, useBinaryFormat: false })],
];
describe("details of an error", () => {
  for (const [name, transport] of transports) {
    test(`reach a client of ${name}, from calls and streams`, async () => {
      const failures: unknown[] = [];
      await createConnectClient(KV, transport())
        .range({ limit: 7n })
        .catch((e) => failures.push(e));
      const stream = createConnectClient(Maintenance, transport()).snapshot({});
      try {
        for await (const _ of stream);
      } catch (error) {
        failures.push(error);
      }
      expect(failures.map((e) => ConnectError.from(e).code as number)).toEqual([Code.ResourceExhausted, Code.DataLoss]);
      for (const error of failures)
        expect(
          ConnectError.from(error)
            .findDetails(StringValueSchema)
            .map(({ value }) => value),
        ).toEqual(["why"]);
    });
  }

  test("reach a client of native gRPC", async () => {
    using channel = connect(listener.address);
    const error = await createClient(KV, channel)
      .range({ limit: 7n })
      .catch((e) => e as RpcError);
    expect((error as RpcError).details).toEqual([detail]);
  });
});

describe("compression", () => {
  const post = (path: string, headers: Record<string, string>, body: Uint8Array | string) =>
    fetch(`${base}${path}`, { method: "POST", headers, body, decompress: false } as RequestInit);

  test("of Connect's unary calls goes both ways, where the client asks", async () => {
    const request = toBinary(RangeRequestSchema, create(RangeRequestSchema, { limit: 50_000n }));
    const type = { "content-type": "application/proto" };
    const response = await post(
      "/etcdserverpb.KV/Range",
      { ...type, "content-encoding": "gzip", "accept-encoding": "gzip" },
      gzipSync(request),
    );
    expect(response.headers.get("content-encoding")).toBe("gzip");
    const answer = fromBinary(RangeResponseSchema, gunzipSync(await response.bytes()));
    expect(answer.kvs[0]!.value.length).toBe(50_000);
    const plain = await post("/etcdserverpb.KV/Range", { ...type, "accept-encoding": "identity" }, request);
    expect([plain.headers.get("content-encoding"), (await plain.bytes()).length > 50_000]).toEqual([null, true]);
    const unknown = await post("/etcdserverpb.KV/Range", { ...type, "content-encoding": "br" }, request);
    expect([unknown.status, (await unknown.json()).code]).toEqual([501, "unimplemented"]);
  });

  test("of streams is of each message", async () => {
    const streams = [
      ["application/connect+proto", "connect-accept-encoding", "connect-content-encoding"],
      ["application/grpc-web+proto", "grpc-accept-encoding", "grpc-encoding"],
    ] as const;
    for (const [type, accept, encoding] of streams) {
      const response = await post("/etcdserverpb.Maintenance/Snapshot", { "content-type": type, [accept]: "gzip" }, new Uint8Array(5));
      expect(response.headers.get(encoding)).toBe("gzip");
      const body = Buffer.from(await response.bytes());
      const length = body.readUInt32BE(1);
      expect([body[0], length < 500, gunzipSync(body.subarray(5, 5 + length)).length]).toEqual([1, true, 10_003]);
    }
  });
});

describe("a request of Connect", () => {
  const call = async (headers: Record<string, string>, body = "{}") => {
    const response = await fetch(`${base}/etcdserverpb.KV/Range`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
    return [response.status, ((await response.json()) as { code?: string }).code];
  };

  test("of another version, a wrong timeout or no JSON is an invalid argument", async () => {
    expect(await call({ "connect-protocol-version": "1", "connect-timeout-ms": "5000" })).toEqual([200, undefined]);
    expect(await call({ "connect-protocol-version": "2" })).toEqual([400, "invalid_argument"]);
    expect(await call({ "connect-timeout-ms": "soon" })).toEqual([400, "invalid_argument"]);
    expect(await call({}, "{")).toEqual([400, "invalid_argument"]);
  });
});

describe("a page of another origin", () => {
  const preflight = (origin: string, flag = "--http1.1") =>
    new Response(
      Bun.spawn([
        "curl",
        "-s",
        "-i",
        flag,
        "-X",
        "OPTIONS",
        "-H",
        `origin: ${origin}`,
        "-H",
        "access-control-request-method: POST",
        "-H",
        "access-control-request-headers: content-type,x-mine",
        `${base}/etcdserverpb.KV/Range`,
      ]).stdout,
    ).text();

  test("may call, and read what comes, if its origin is listed", async () => {
    for (const flag of ["--http1.1", "--http2-prior-knowledge"]) {
      const head = await preflight("https://page.example", flag);
      expect(head).toMatch(/^HTTP\/\S+ 204/);
      expect(head).toContain("access-control-allow-origin: https://page.example");
      expect(head).toContain("access-control-allow-headers: content-type,x-mine");
    }
    const headers = { "content-type": "application/json", origin: "https://page.example" };
    const response = await fetch(`${base}/etcdserverpb.KV/Range`, { method: "POST", headers, body: "{}" });
    expect([response.headers.get("access-control-allow-origin"), response.headers.get("vary")]).toEqual(["https://page.example", "origin"]);
    expect(response.headers.get("access-control-expose-headers")).toContain("grpc-status");
  });

  test("may not otherwise", async () => {
    expect(await preflight("https://other.example")).not.toContain("access-control");
  });
});
