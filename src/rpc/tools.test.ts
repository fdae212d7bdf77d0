// Health and reflection, and what tools make of them: buf curl knows the services by reflection alone.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { connect, createClient } from "./client.ts";
import { KV } from "./gen/etcd/rpc_pb.ts";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "./gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "./gen/grpc/reflection/v1/reflection_pb.ts";
import { HealthStatus } from "./health.ts";
import { reflection } from "./reflection.ts";
import { createRpcServer, type RpcListener, service } from "./server.ts";
import { Code, type RpcError } from "./types.ts";

const health = new HealthStatus();
let listener: RpcListener;
beforeAll(async () => {
  const kv = service(KV, { range: ({ key }) => ({ count: BigInt(key.length) }) });
  listener = await createRpcServer({ services: [kv, health.service, ...reflection([KV, Health])] }).listen({ host: "127.0.0.1", port: 0 });
});
afterAll(() => listener.close());

test("health is checked and watched", async () => {
  using channel = connect(listener.address);
  const client = createClient(Health, channel);
  expect((await client.check({})).status).toBe(Serving.SERVING);
  const unknown = await client.check({ service: "no.Such" }).catch((error) => error as RpcError);
  expect((unknown as RpcError).code).toBe(Code.NotFound);
  const seen: Serving[] = [];
  for await (const { status } of client.watch({ service: "etcdserverpb.KV" })) {
    seen.push(status);
    if (seen.length === 1) health.set("etcdserverpb.KV", true);
    if (seen.length === 2) health.set("etcdserverpb.KV", false);
    if (seen.length === 3) break;
  }
  expect(seen).toEqual([Serving.SERVICE_UNKNOWN, Serving.SERVING, Serving.NOT_SERVING]);
});

test("reflection lists services and answers what it does not know", async () => {
  using channel = connect(listener.address);
  async function* requests() {
    yield { messageRequest: { case: "listServices" as const, value: "" } };
    yield { messageRequest: { case: "fileContainingSymbol" as const, value: "no.Such" } };
    yield { messageRequest: { case: "fileContainingSymbol" as const, value: "etcdserverpb.KV.Put" } };
  }
  const answers = [];
  for await (const { messageResponse } of createClient(ServerReflection, channel).serverReflectionInfo(requests()))
    answers.push(messageResponse);
  expect(answers[0]).toMatchObject({
    case: "listServicesResponse",
    value: { service: [{ name: "etcdserverpb.KV" }, { name: "grpc.health.v1.Health" }, {}, {}] },
  });
  expect(answers[1]).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
  expect(answers[2]).toMatchObject({ case: "fileDescriptorResponse" });
});

test("reflection answers under its older name too, which is in its own list", async () => {
  using channel = connect(listener.address);
  const older = reflection([])[1]!.desc;
  expect(older.typeName).toBe("grpc.reflection.v1alpha.ServerReflection");
  async function* requests() {
    yield { messageRequest: { case: "listServices", value: "" } };
    yield { messageRequest: { case: "fileContainingSymbol", value: older.typeName } };
  }
  const client = createClient(older, channel) as unknown as {
    serverReflectionInfo(requests: AsyncIterable<object>): AsyncIterable<object>;
  };
  const answers = [];
  for await (const answer of client.serverReflectionInfo(requests())) answers.push(answer);
  expect(answers[0]).toMatchObject({
    $typeName: "grpc.reflection.v1alpha.ServerReflectionResponse",
    messageResponse: {
      case: "listServicesResponse",
      value: { service: [{}, {}, { name: ServerReflection.typeName }, { name: older.typeName }] },
    },
  });
  const { fileDescriptorProto } = (answers[1] as { messageResponse: { value: { fileDescriptorProto: Uint8Array[] } } }).messageResponse
    .value;
  const proto = fromBinary(FileDescriptorProtoSchema, fileDescriptorProto[0]!);
  expect([proto.name, proto.package]).toEqual(["grpc/reflection/v1alpha/reflection.proto", "grpc.reflection.v1alpha"]);
});

const buf = Bun.which("buf", { PATH: `${import.meta.dir}/../../node_modules/.bin:${process.env.PATH}` });
if (!buf) console.warn("skipped: buf is not installed (npm install)");

describe.skipIf(!buf)("buf curl", () => {
  const curl = async (...flags: string[]) => {
    const url = `http://127.0.0.1:${(listener.address as { port: number }).port}/`;
    const all = [buf!, "curl", ...flags.slice(0, -1), url + flags.at(-1)];
    const child = Bun.spawn(all, { stdout: "pipe", stderr: "pipe", cwd: "/", env: { ...process.env, HOME: "/nonexistent" } });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { out: out.replace(/\s/g, ""), err, code: await child.exited };
  };

  for (const protocol of ["grpc", "grpcweb", "connect"]) {
    test(`calls a method it knows by reflection, over ${protocol}`, async () => {
      const flags = ["--http2-prior-knowledge", "--protocol", protocol, "-d", '{"key":"YWJj"}'];
      expect(await curl(...flags, "etcdserverpb.KV/Range")).toEqual({ out: '{"count":"3"}', err: "", code: 0 });
    });
  }
});
