// Against what others wrote: @grpc/grpc-js both ways, Debian's etcd and etcdctl, containerd.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { freePorts } from "../../testing/ports.ts";
import { connect, createClient } from "../client.ts";
import { RuntimeService } from "../gen/cri/runtime_pb.ts";
import { KV, Lease, RangeRequestSchema, RangeResponseSchema, Watch, WatchRequestSchema, WatchResponseSchema } from "../gen/etcd/rpc_pb.ts";
import { decodeBinary, encodeBinary } from "../metadata.ts";
import { createRpcServer, service } from "../server.ts";
import { selfSigned } from "../testing/certificate.ts";
import { Code, type RpcError } from "../types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);
const dir = mkdtempSync(join(tmpdir(), "rpc-interop-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const RANGE = {
  path: "/etcdserverpb.KV/Range",
  requestStream: false,
  responseStream: false,
  requestSerialize: (m: object) => Buffer.from(toBinary(RangeRequestSchema, create(RangeRequestSchema, m))),
  requestDeserialize: (b: Buffer) => fromBinary(RangeRequestSchema, b),
  responseSerialize: (m: object) => Buffer.from(toBinary(RangeResponseSchema, create(RangeResponseSchema, m))),
  responseDeserialize: (b: Buffer) => fromBinary(RangeResponseSchema, b),
};
const WATCH = {
  path: "/etcdserverpb.Watch/Watch",
  requestStream: true,
  responseStream: true,
  requestSerialize: (m: object) => Buffer.from(toBinary(WatchRequestSchema, create(WatchRequestSchema, m))),
  requestDeserialize: (b: Buffer) => fromBinary(WatchRequestSchema, b),
  responseSerialize: (m: object) => Buffer.from(toBinary(WatchResponseSchema, create(WatchResponseSchema, m))),
  responseDeserialize: (b: Buffer) => fromBinary(WatchResponseSchema, b),
};

describe("grpc-js", () => {
  test("as a client gets messages, errors, metadata and streams from our server", async () => {
    const listener = await createRpcServer({
      compressFrom: 1000,
      services: [
        service(KV, {
          range({ key }, context) {
            if (text(key) === "error") throw Object.assign(new Error("plain"), { code: 1 });
            context.responseTrailers.set("x-tail", context.requestHeaders.get("x-ask") ?? "");
            return { kvs: [{ key, value: new Uint8Array(100_000) }] };
          },
        }),
        service(Watch, {
          async *watch(requests) {
            for await (const _ of requests) yield { cancelReason: "y".repeat(10_000) };
          },
        }),
      ],
    }).listen({ host: "127.0.0.1", port: 0 });
    const Client = grpc.makeGenericClientConstructor({ range: RANGE, watch: WATCH }, "any");
    const { port } = listener.address as { port: number };
    const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { "grpc.default_compression_algorithm": 2 });
    const range = (key: string) =>
      new Promise<{ error: grpc.ServiceError | null; size: number | undefined; tail: unknown }>((resolve) => {
        const metadata = new grpc.Metadata();
        metadata.set("x-ask", "hello");
        let result: { error: grpc.ServiceError | null; size: number | undefined };
        const call = client.range!(
          { key: bytes(key) },
          metadata,
          (error: grpc.ServiceError | null, answer: { kvs: { value: Uint8Array }[] }) => {
            result = { error, size: answer?.kvs[0]?.value.length };
          },
        );
        call.on("status", (status: grpc.StatusObject) =>
          setImmediate(() => resolve({ ...result, tail: status.metadata.get("x-tail")[0] })),
        );
      });
    expect(await range("k")).toEqual({ error: null, size: 100_000, tail: "hello" });
    const { error } = await range("error");
    expect([error?.code, error?.details]).toEqual([grpc.status.UNKNOWN, "plain"]);
    const stream = client.watch!();
    const sizes: number[] = [];
    for (let i = 0; i < 50; i++) stream.write({});
    stream.end();
    for await (const answer of stream) sizes.push(answer.cancelReason.length);
    expect(sizes).toEqual(new Array(50).fill(10_000));
    client.close();
    await listener.close();
  });

  test("as a client exchanges binary metadata, keeps to our limits, and hears too_many_pings", async () => {
    const listener = await createRpcServer({
      maxReceiveSize: 10_000,
      services: [
        service(KV, {
          async range({ key }, { requestHeaders, responseHeaders, responseTrailers, signal }) {
            if (text(key) === "hold") await new Promise((resolve) => signal.addEventListener("abort", resolve));
            const values = requestHeaders
              .get("x-bin-bin")!
              .split(",")
              .map((value) => decodeBinary(value));
            responseHeaders.set("x-head-bin", encodeBinary(values[0]!));
            responseTrailers.set("x-tail-bin", encodeBinary(values[1]!));
            return { count: BigInt(values.length) };
          },
        }),
      ],
    }).listen({ host: "127.0.0.1", port: 0 });
    const { port } = listener.address as { port: number };
    const Client = grpc.makeGenericClientConstructor({ range: RANGE }, "any");
    const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const metadata = new grpc.Metadata();
    const [a, b] = [Buffer.from([0, 255, 1]), Buffer.from([0xfe])];
    metadata.add("x-bin-bin", a);
    metadata.add("x-bin-bin", b);
    const ask = (key: Uint8Array, options: grpc.CallOptions = {}) =>
      new Promise<unknown[]>((resolve) => {
        let head: unknown;
        const done = (error: grpc.ServiceError | null) => error && resolve([error.code, error.details]);
        const call = client.range!({ key }, metadata, options, done);
        call.on("metadata", (m: grpc.Metadata) => (head = m.get("x-head-bin")[0]));
        call.on("status", ({ code, metadata: tail }: grpc.StatusObject) => code === 0 && resolve([head, tail.get("x-tail-bin")[0]]));
      });
    expect(await ask(bytes("k"))).toEqual([a, b]);
    expect(await ask(new Uint8Array(9_990))).toEqual([a, b]);
    expect(await ask(new Uint8Array(10_000))).toEqual([
      grpc.status.RESOURCE_EXHAUSTED,
      "grpc: received message larger than max (10003 vs. 10000)",
    ]);
    const [late] = await ask(bytes("hold"), { deadline: Date.now() + 100 });
    expect(late).toBe(grpc.status.DEADLINE_EXCEEDED);
    client.close();
    const pinging = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      "grpc.keepalive_time_ms": 100,
      "grpc.keepalive_timeout_ms": 20_000,
    });
    const error = await new Promise<grpc.ServiceError>((resolve) =>
      pinging.range!({ key: bytes("hold") }, metadata, (e: grpc.ServiceError) => resolve(e)),
    );
    // What grpc-js makes of ENHANCE_YOUR_CALM; it also says that it pings half as often from now on.
    expect(error.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    pinging.close();
    await listener.close();
  }, 60_000);

  test("as a server answers our client", async () => {
    const server = new grpc.Server();
    server.addService(
      { range: RANGE, watch: WATCH },
      {
        range(call: grpc.ServerUnaryCall<{ key: Uint8Array }, unknown>, answer: grpc.sendUnaryData<unknown>) {
          if (text(call.request.key) === "error") return answer({ code: grpc.status.ALREADY_EXISTS, details: "schön" });
          answer(null, {
            kvs: [{ key: bytes(String(call.metadata.get("x-ask")[0])) }],
            count: BigInt(call.getDeadline() === Infinity ? 0 : 1),
          });
        },
        watch(call: grpc.ServerDuplexStream<unknown, unknown>) {
          call.on("data", () => call.write({ cancelReason: "z".repeat(10_000) }));
          call.on("end", () => call.end());
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound))),
    );
    using channel = connect({ host: "127.0.0.1", port }, { compressFrom: 10 });
    const client = createClient(KV, channel);
    const answer = await client.range({ key: bytes("k".repeat(100)) }, { timeout: 20_000, headers: { "x-ask": "me" } });
    expect([text(answer.kvs[0]!.key), answer.count]).toEqual(["me", 1n]);
    const error = await client.range({ key: bytes("error") }).catch((e) => e as RpcError);
    expect([(error as RpcError).code, (error as RpcError).message]).toEqual([Code.AlreadyExists, "schön"]);
    let count = 0;
    for await (const { cancelReason } of createClient(Watch, channel).watch(
      (async function* () {
        for (let i = 0; i < 200; i++) yield {};
      })(),
    )) {
      count += cancelReason.length;
    }
    expect(count).toBe(2_000_000);
    server.forceShutdown();
  });
});

const has = (program: string) => {
  const found = Bun.which(program) !== null;
  if (!found) console.warn(`skipped: ${program} is not installed (apt-get install etcd-server etcd-client containerd)`);
  return found;
};

test.skipIf(!has("etcd"))(
  "Debian's etcd takes puts, ranges, leases and watches from our client",
  async () => {
    const [port, peer] = freePorts(2) as [number, number];
    const flags = ["--data-dir", join(dir, "etcd"), "--log-level", "error"];
    flags.push("--listen-client-urls", `http://127.0.0.1:${port}`, "--advertise-client-urls", `http://127.0.0.1:${port}`);
    flags.push("--listen-peer-urls", `http://127.0.0.1:${peer}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`);
    flags.push("--initial-cluster", `default=http://127.0.0.1:${peer}`);
    const etcd = Bun.spawn(["etcd", ...flags], { stdout: "ignore", stderr: "ignore" });
    try {
      using channel = connect({ host: "127.0.0.1", port });
      await channel.ready(AbortSignal.timeout(30_000));
      const kv = createClient(KV, channel);
      await kv.put({ key: bytes("before"), value: bytes("v") });
      expect((await kv.range({ key: bytes("before") })).kvs.map((pair) => text(pair.value))).toEqual(["v"]);
      const future = await kv.range({ key: bytes("before"), revision: 10_000n }).catch((error) => error as RpcError);
      expect((future as RpcError).code).toBe(Code.OutOfRange);
      expect((await createClient(Lease, channel).leaseGrant({ TTL: 60n })).TTL).toBe(60n);
      const stop = new AbortController();
      async function* requests() {
        yield { requestUnion: { case: "createRequest" as const, value: { key: bytes("w"), rangeEnd: bytes("x") } } };
        await new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
      }
      let events = 0;
      for await (const answer of createClient(Watch, channel).watch(requests())) {
        // 2 MB of values: more than a window, and than one frame of etcd's.
        if (answer.created) for (let i = 0; i < 1000; i++) kv.put({ key: bytes(`w${i}`), value: new Uint8Array(2000) });
        events += answer.events.length;
        if (events === 1000) break;
      }
      stop.abort();
      expect((await kv.range({ key: bytes("w"), rangeEnd: bytes("x") })).kvs.length).toBe(1000);
    } finally {
      etcd.kill("SIGKILL");
      await etcd.exited;
    }
  },
  60_000,
);

test.skipIf(!has("etcd"))(
  "Debian's etcd with TLS knows our client by its certificate, keeps to its limits and ends calls with it",
  async () => {
    const [server, client] = await Promise.all([selfSigned("server"), selfSigned("client")]);
    const file = async (name: string, content: string) => {
      await Bun.write(join(dir, name), content);
      return join(dir, name);
    };
    const [port, peer] = freePorts(2) as [number, number];
    const flags = ["--data-dir", join(dir, "etcd-tls"), "--log-level", "error", "--client-cert-auth"];
    flags.push("--cert-file", await file("s.crt", server.cert), "--key-file", await file("s.key", server.key));
    flags.push("--trusted-ca-file", await file("c.crt", client.cert), "--grpc-keepalive-min-time", "1s");
    flags.push("--listen-client-urls", `https://127.0.0.1:${port}`, "--advertise-client-urls", `https://127.0.0.1:${port}`);
    flags.push("--listen-peer-urls", `http://127.0.0.1:${peer}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`);
    flags.push("--initial-cluster", `default=http://127.0.0.1:${peer}`);
    const etcd = Bun.spawn(["etcd", ...flags], { stdout: "ignore", stderr: "ignore" });
    const address = { host: "127.0.0.1", port };
    try {
      using channel = connect(address, { tls: { ca: server.cert, ...client }, keepalive: { interval: 1500, timeout: 5000 } });
      await channel.ready(AbortSignal.timeout(30_000));
      const kv = createClient(KV, channel);
      await kv.put({ key: bytes("k"), value: bytes("v") });
      const large = await kv.put({ key: bytes("k"), value: new Uint8Array(3_000_000) }).catch((error) => error as RpcError);
      expect((large as RpcError).code).toBe(Code.ResourceExhausted);
      using stranger = connect(address, { tls: { ca: server.cert } });
      const refused = await createClient(KV, stranger)
        .range({ key: bytes("k") })
        .catch((error) => error as RpcError);
      expect((refused as RpcError).code).toBe(Code.Unavailable);
      // A watch that waits when its server dies.
      const watch = createClient(Watch, channel).watch(
        (async function* () {
          yield { requestUnion: { case: "createRequest" as const, value: { key: bytes("k") } } };
          await etcd.exited;
        })(),
      );
      let failed: unknown;
      try {
        for await (const { created } of watch) if (created) etcd.kill("SIGKILL");
      } catch (error) {
        failed = error;
      }
      expect((failed as RpcError).code).toBe(Code.Unavailable);
    } finally {
      etcd.kill("SIGKILL");
      await etcd.exited;
    }
  },
  60_000,
);

test.skipIf(!has("etcdctl"))(
  "Debian's etcdctl puts, gets and watches through our server",
  async () => {
    const store = new Map<string, Uint8Array>();
    const watchers = new Set<(key: string) => void>();
    let revision = 1n;
    const header = () => ({ revision });
    const listener = await createRpcServer({
      services: [
        service(KV, {
          put({ key, value }) {
            revision++;
            store.set(text(key), value);
            for (const tell of watchers) tell(text(key));
            return { header: header() };
          },
          range({ key }) {
            const value = store.get(text(key));
            return { header: header(), count: value ? 1n : 0n, kvs: value ? [{ key, value, modRevision: revision }] : [] };
          },
        }),
        service(Watch, {
          async *watch(requests, { signal }) {
            for await (const _ of requests) {
              yield { header: header(), created: true };
              const key = await new Promise<string>((resolve, reject) => {
                watchers.add(resolve);
                signal.addEventListener("abort", () => reject(signal.reason));
              });
              yield { header: header(), events: [{ kv: { key: bytes(key), value: store.get(key)!, modRevision: revision } }] };
            }
          },
        }),
      ],
    }).listen({ host: "127.0.0.1", port: 0 });
    const endpoint = `--endpoints=http://127.0.0.1:${(listener.address as { port: number }).port}`;
    const spawn = (...flags: string[]) =>
      Bun.spawn(["etcdctl", endpoint, ...flags], { env: { ...process.env, ETCDCTL_API: "3" }, stdout: "pipe", stderr: "pipe" });
    const run = async (...flags: string[]) => {
      const command = spawn(...flags);
      const [out, err] = await Promise.all([new Response(command.stdout).text(), new Response(command.stderr).text()]);
      return { out, err, code: await command.exited };
    };
    const watch = spawn("watch", "foo");
    try {
      while (watchers.size === 0) await Bun.sleep(5);
      expect((await run("put", "foo", "bar")).out).toBe("OK\n");
      expect((await run("get", "foo")).out).toBe("foo\nbar\n");
      // It may come line by line.
      const told = "PUT\nfoo\nbar\n";
      const reader = watch.stdout.getReader();
      let printed = "";
      while (printed.length < told.length) printed += text((await reader.read()).value!);
      expect(printed).toBe(told);
      const refused = await run("del", "foo");
      expect(refused.code).toBe(1);
      expect(refused.err).toContain("code = Unimplemented desc = method DeleteRange not implemented");
    } finally {
      watch.kill();
      await watch.exited;
      await listener.close();
    }
  },
  60_000,
);

test.skipIf(!has("containerd") || process.getuid?.() !== 0)(
  "containerd answers CRI calls over its unix socket",
  async () => {
    const [root, socket] = [join(dir, "containerd"), join(dir, "c.sock")];
    mkdirSync(root);
    const config = `version = 2\nroot = "${root}/root"\nstate = "${root}/state"\n[grpc]\naddress = "${socket}"\n`;
    await Bun.write(join(root, "config.toml"), `${config}[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n`);
    const containerd = Bun.spawn(["containerd", "-c", join(root, "config.toml")], { stdout: "ignore", stderr: "ignore" });
    try {
      using channel = connect({ unix: socket });
      await channel.ready(AbortSignal.timeout(30_000));
      const runtime = createClient(RuntimeService, channel);
      expect((await runtime.version({})).runtimeName).toBe("containerd");
      const unknown = await runtime.containerStatus({ containerId: "nothing" }).catch((error) => error as RpcError);
      expect((unknown as RpcError).code).toBe(Code.NotFound);
    } finally {
      containerd.kill();
      await containerd.exited;
    }
  },
  60_000,
);
