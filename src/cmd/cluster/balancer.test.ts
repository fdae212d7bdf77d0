import { afterEach, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Backend, Balancer } from "./balancer.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

/** Says its name to whoever connects, and keeps the connection. */
async function apiserver(name: string): Promise<Backend & { server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).write(name);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  undo.push(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return { name, host: "127.0.0.1", port: (server.address() as { port: number }).port, server };
}

/** How each server answers looks; one that is frozen does not. */
type State = "ready" | "frozen" | "refuses";

async function balancer(backends: readonly Backend[], states: Record<string, State>): Promise<Balancer> {
  const b = new Balancer({
    listen: { host: "127.0.0.1", port: 0 },
    backends,
    look({ name }, signal) {
      if (states[name] === "ready") return Promise.resolve();
      if (states[name] === "refuses") return Promise.reject(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }));
      return new Promise((_, failed) => signal.addEventListener("abort", () => failed(signal.reason as Error)));
    },
  });
  await b.start();
  undo.push(() => b.stop());
  return b;
}

interface Client {
  /** Who is at the other end. */
  name: string;
  ended: Promise<void>;
  over: boolean;
}

async function client(b: Balancer): Promise<Client> {
  const socket = connect({ host: "127.0.0.1", port: b.port });
  undo.push(() => socket.destroy());
  const name = await new Promise<string>((done, failed) => {
    socket.once("data", (bytes) => done(String(bytes)));
    socket.once("error", failed);
  });
  const told: Client = { name, over: false, ended: Promise.resolve() };
  told.ended = new Promise((done) =>
    socket.once("close", () => {
      told.over = true;
      done();
    }),
  );
  return told;
}

const names = async (b: Balancer, n: number) => new Set((await Promise.all(Array.from({ length: n }, () => client(b)))).map((c) => c.name));

async function until(what: string, probe: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await probe())) {
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`);
    await Bun.sleep(5);
  }
}

test("connections take turns among the servers that are ready", async () => {
  const servers = await Promise.all(["a", "b", "c"].map(apiserver));
  const b = await balancer(servers, { a: "ready", b: "ready", c: "refuses" });
  await until("a and b to be ready", async () => (await names(b, 6)).size === 2);
  expect(await names(b, 6)).toEqual(new Set(["a", "b"]));
});

test("one that freezes gets no more connections, and those that it has are cut", async () => {
  const servers = await Promise.all(["a", "b"].map(apiserver));
  const states: Record<string, State> = { a: "ready", b: "ready" };
  const b = await balancer(servers, states);
  await until("both to be ready", async () => (await names(b, 4)).size === 2);
  const [one, two] = [await client(b), await client(b)];
  const [kept, cut] = one.name === "a" ? [one, two] : [two, one];
  states.b = "frozen";
  // It still takes connections, as a frozen process does, but none is sent there.
  await until("only a to be used", async () => (await names(b, 2)).size === 1);
  expect(await names(b, 4)).toEqual(new Set(["a"]));
  await cut.ended;
  expect(kept.over).toBe(false);
  states.b = "ready";
  await until("both to be used again", async () => (await names(b, 4)).size === 2);
});

test("while none answers nothing is cut, and connections are tried all the same", async () => {
  const servers = await Promise.all(["a", "b"].map(apiserver));
  const states: Record<string, State> = { a: "ready", b: "ready" };
  const b = await balancer(servers, states);
  await until("both to be ready", async () => (await names(b, 4)).size === 2);
  const [one, two] = [await client(b), await client(b)];
  const [onA, onB] = one.name === "a" ? [one, two] : [two, one];
  states.a = "frozen";
  states.b = "frozen";
  await until("none to be ready", () => b.notReady() !== undefined);
  expect(b.notReady()).toBe("no apiserver is ready");
  expect((await names(b, 4)).size).toBe(2);
  expect([onA.over, onB.over]).toEqual([false, false]);
  // As soon as one answers, whoever waits at the other is helped.
  states.a = "ready";
  await onB.ended;
  expect(onA.over).toBe(false);
});

test("a server that is gone is passed over at once, in the middle of a connection too", async () => {
  const [a, c] = [await apiserver("a"), await apiserver("c")];
  const states: Record<string, State> = { a: "ready", c: "ready" };
  const b = await balancer([a, c], states);
  await until("both to be ready", async () => (await names(b, 4)).size === 2);
  await new Promise<void>((done) => {
    c.server.close(() => done());
    c.server.unref();
    done();
  });
  // Looks still say that it is ready.
  expect(await names(b, 4)).toEqual(new Set(["a"]));
});
