// The wire without what is behind it: calls of gRPC to a handler that does
// nothing, beside grpc-js on the same Bun, and one message to a thousand streams.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { connect, createClient } from "../src/rpc/client.ts";
import { KV } from "../src/rpc/gen/etcd/rpc_pb.ts";
import { FrameReader } from "../src/rpc/http2/frame.ts";
import { Flag, Frames, FrameType } from "../src/rpc/testing/raw-http2.ts";
import { type BenchOptions, type Row, spread } from "./report.ts";
import { PUT, WATCH } from "./store/frames.ts";
import { load, noH2load } from "./store/h2load.ts";

const cpus = availableParallelism() > 1 ? { server: "0", client: "1" } : { server: "0", client: "0" };

class Server implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;
  port = 0;

  constructor(kind: string, mode: string) {
    const command = ["taskset", "-c", cpus.server, process.execPath, join(import.meta.dirname, "rpc/server.ts"), kind, mode];
    this.#process = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    this.#lines = linesOf(this.#process.stdout);
  }

  async start(): Promise<this> {
    this.port = Number((await this.#lines.next()).value);
    return this;
  }

  /** Microseconds of CPU so far. */
  async cpu(): Promise<number> {
    this.#process.stdin.write("?\n");
    this.#process.stdin.flush();
    return Number((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill();
    await this.#process.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

/** Calls per second and microseconds of CPU a call. */
async function unary(kind: string, mode: string, clients: number, requests: number) {
  await using server = await new Server(kind, mode).start();
  const run = (n: number) =>
    load({ endpoint: `127.0.0.1:${server.port}`, path: "/etcdserverpb.KV/Put", body: PUT, clients, requests: n, cpus: cpus.client });
  await run(Math.ceil(requests / 4));
  const before = await server.cpu();
  const { perSecond } = await run(requests);
  return { perSecond, cpu: ((await server.cpu()) - before) / requests };
}

/** One message to so many streams on so many connections, over and over: streams' messages per second, and nanoseconds of CPU each. */
async function broadcast(connections: number, streams: number, rounds: number) {
  await using server = await new Server("ours", "raw").start();
  const head = [
    ":method",
    "POST",
    ":scheme",
    "http",
    ":path",
    "/etcdserverpb.Watch/Watch",
    ":authority",
    "a",
    "content-type",
    "application/grpc",
  ];
  let received = 0;
  let wanted = 0;
  let reached = () => {};
  const sockets = [];
  for (let i = 0; i < connections; i++) {
    const f = new Frames().preface([[4, 0x3fffffff]]).words(FrameType.WINDOW_UPDATE, 0, 0x3fffffff);
    for (let k = 0; k < streams / connections; k++) {
      f.headers(1 + 2 * k, head, Flag.END_HEADERS).frame(FrameType.DATA, 0, 1 + 2 * k, WATCH);
    }
    const reader = new FrameReader(0xffffff, (type) => {
      if (type === FrameType.DATA && ++received === wanted) reached();
    });
    const data = (_: unknown, chunk: Uint8Array) => reader.push(chunk);
    const socket = await Bun.connect({ hostname: "127.0.0.1", port: server.port, socket: { binaryType: "uint8array", data } });
    socket.write(f.take());
    sockets.push(socket);
  }
  using channel = connect({ host: "127.0.0.1", port: server.port });
  const client = createClient(KV, channel);
  // The server counts its watchers, for they come over other connections.
  while (Number((await client.compact({ revision: 1n })).header?.revision) < streams);
  const round = async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    wanted = received + streams;
    reached = resolve;
    await Promise.all([promise, client.compact({})]);
  };
  for (let i = 0; i < rounds / 4; i++) await round();
  const before = await server.cpu();
  const start = performance.now();
  for (let i = 0; i < rounds; i++) await round();
  const seconds = (performance.now() - start) / 1000;
  const cpu = (await server.cpu()) - before;
  for (const socket of sockets) socket.terminate();
  return { perSecond: (rounds * streams) / seconds, cpu: (cpu * 1000) / (rounds * streams) };
}

export default async function rpc({ quick }: BenchOptions): Promise<Row[]> {
  if (noH2load) {
    console.error(`skipped: ${noH2load}`);
    return [];
  }
  const rows: Row[] = [];
  const repeat = quick ? 1 : 3;
  const add = (metric: string, unit: string, ours: number[], peer: number | null, more: boolean, aim: string) => {
    const all = spread(ours);
    const ratio = peer === null ? null : more ? all.median / peer : peer / all.median;
    rows.push({ name: "rpc", metric, unit, ours: all, peer: peer === null ? null : "grpc-js", peerValue: peer, ratio, aim });
  };
  for (const clients of [1, 1024]) {
    const requests = (quick ? 1 : 4) * (clients === 1 ? 10_000 : 100_000);
    const theirs = await unary("grpc-js", "typed", clients, requests / 4);
    for (const mode of ["raw", "typed"]) {
      const runs = [];
      for (let i = 0; i < repeat; i++) runs.push(await unary("ours", mode, clients, requests));
      const what = `unary calls, ${mode} handler, ${clients} in flight`;
      const aim = mode === "raw" && clients > 1 ? "> 200 000" : "";
      add(
        what,
        "calls/s",
        runs.map((r) => r.perSecond),
        theirs.perSecond,
        true,
        aim,
      );
      add(
        `${what}: CPU of the server`,
        "µs/call",
        runs.map((r) => r.cpu),
        theirs.cpu,
        false,
        "",
      );
    }
  }
  const runs = [];
  for (let i = 0; i < repeat; i++) runs.push(await broadcast(8, 1000, quick ? 500 : 2000));
  add(
    "one message to 1000 streams on 8 connections",
    "messages/s",
    runs.map((r) => r.perSecond),
    null,
    true,
    "> 1 000 000",
  );
  add(
    "the same: CPU of the server",
    "ns/message",
    runs.map((r) => r.cpu),
    null,
    false,
    "",
  );
  return rows;
}
