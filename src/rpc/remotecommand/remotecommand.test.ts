// Real kubectl and @kubernetes/client-node against our server, directly and through our proxy.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type AddressInfo, connect, createServer } from "node:net";
import { type TestApiserver, testApiserver } from "../testing/apiserver.ts";
import {
  acceptExec,
  acceptPortForward,
  type ByteStream,
  copy,
  dialExec,
  dialPortForward,
  type ExecSession,
  execStreams,
  exitCode,
  exitStatus,
  failureStatus,
  proxyExec,
  proxyPortForward,
  type Upgrade,
  UpgradeRefused,
} from "./mod.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = async (readable: AsyncIterable<Uint8Array>) => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

/** "Commands", by the name in the query. */
const COMMANDS: Record<string, (session: ExecSession, ...args: string[]) => Promise<void>> = {
  async exit(session, code = "0") {
    await session.stdout?.write(bytes("to stdout\n"));
    await session.stderr?.write(bytes("to stderr\n"));
    session.finish(exitStatus(Number(code)));
  },
  async cat(session) {
    for await (const chunk of session.stdin!) await session.stdout!.write(chunk);
    session.finish(exitStatus(0));
  },
  async big(session, size = "0") {
    for (let left = Number(size); left > 0; left -= 32768) await session.stdout!.write(new Uint8Array(Math.min(left, 32768)).fill(97));
    session.finish(exitStatus(0));
  },
  async sizes(session) {
    for await (const { width, height } of session.resize!) {
      await session.stdout!.write(bytes(`${width}x${height}\n`));
      if (width === 1) break;
    }
    session.finish(exitStatus(0));
  },
  async broken(session) {
    session.finish(failureStatus("the runtime is on fire"));
  },
  async hang(session) {
    await session.stdout!.write(bytes("hanging\n"));
    await new Promise((resolve) => session.signal.addEventListener("abort", resolve));
    gone?.();
  },
};
let gone: (() => void) | undefined;

async function serve(upgrade: Upgrade, url: URL): Promise<void> {
  if (url.pathname.endsWith("/portforward")) return acceptPortForward(upgrade, forward);
  const session = await acceptExec(upgrade, execStreams(url.searchParams));
  const [name = "exit", ...args] = url.searchParams.getAll("command");
  if (session) await COMMANDS[name]!(session, ...args);
}

/** Port 81 is closed; any other goes to a server that turns a line round. */
async function forward(port: number, stream: ByteStream): Promise<void> {
  if (port === 81) throw new Error("connection refused");
  const line = await text(stream.readable);
  await stream.write(bytes(`${port} ${[...line].reverse().join("")}`));
  stream.end();
}

let direct: TestApiserver;
let proxied: TestApiserver;
beforeAll(async () => {
  direct = await testApiserver((upgrade, url) => void serve(upgrade, url));
  proxied = await testApiserver((upgrade, url) => {
    const away = url.searchParams.getAll("command")[0] === "away";
    const target = { url: (away ? "https://127.0.0.1:1" : direct.url) + url.pathname + url.search, tls: { ca: direct.cert } };
    void (url.pathname.endsWith("/portforward") ? proxyPortForward(upgrade, target) : proxyExec(upgrade, target));
  });
});
afterAll(async () => {
  await proxied.close();
  await direct.close();
});

const kubectl = Bun.which("kubectl");
if (!kubectl) console.warn("skipped: kubectl is not on PATH");

for (const carrier of ["WebSocket", "SPDY"]) {
  for (const way of ["directly", "through the proxy"]) {
    describe.skipIf(!kubectl)(`kubectl over ${carrier}, ${way}`, () => {
      const websockets = String(carrier === "WebSocket");
      const spawn = (stdin: Blob | null, args: string[]) => {
        const { url } = way === "directly" ? direct : proxied;
        const env = {
          ...process.env,
          KUBECONFIG: "/dev/null",
          KUBECTL_REMOTE_COMMAND_WEBSOCKETS: websockets,
          KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets,
        };
        return Bun.spawn([kubectl!, "--server", url, "--insecure-skip-tls-verify", "--token", "t", ...args], {
          env,
          stdin,
          stdout: "pipe",
          stderr: "pipe",
        });
      };
      const run = async (stdin: Blob | null, ...args: string[]) => {
        const child = spawn(stdin, args);
        const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
        return { out, err, code: await child.exited };
      };

      test("exec gives both outputs and the exit code", async () => {
        expect(await run(null, "exec", "p", "--", "exit")).toEqual({ out: "to stdout\n", err: "to stderr\n", code: 0 });
        const failed = await run(null, "exec", "p", "--", "exit", "42");
        expect(failed).toEqual({ out: "to stdout\n", err: "to stderr\ncommand terminated with exit code 42\n", code: 42 });
        expect((carrier === "SPDY" ? direct : way === "directly" ? direct : proxied).upgrades.at(-1)).toBe(
          carrier === "SPDY" ? "SPDY/3.1" : "websocket",
        );
      });

      test("the end of stdin reaches the command, after all of it", async () => {
        const input = "0123456789".repeat(300_000);
        const { out, code } = await run(new Blob([input]), "exec", "-i", "p", "--", "cat");
        expect([out === input, code]).toEqual([true, 0]);
      });

      test("a lot of output comes whole", async () => {
        expect((await run(null, "exec", "p", "--", "big", "10000000")).out.length).toBe(10_000_000);
      });

      test("attach gives the output", async () => {
        expect((await run(null, "attach", "p")).out).toBe("to stdout\n");
      });

      test("a command that can't be run says why", async () => {
        const { err, code } = await run(null, "exec", "p", "--", "broken");
        expect([err, code]).toEqual([expect.stringContaining("the runtime is on fire"), 1]);
      });

      test("a client that goes is noticed", async () => {
        const left = new Promise<void>((resolve) => (gone = resolve));
        const child = spawn(null, ["exec", "p", "--", "hang"]);
        await child.stdout.getReader().read();
        child.kill("SIGKILL");
        await Promise.all([child.exited, left]);
      });

      test("port-forward carries connections, and tells of ports that are closed", async () => {
        const child = spawn(null, ["port-forward", "p", ":80", ":81"]);
        try {
          const reader = child.stdout.getReader();
          let lines = "";
          while (!/-> 81\n/.test(lines)) lines += new TextDecoder().decode((await reader.read()).value);
          const local = (port: number) => Number(new RegExp(`127.0.0.1:(\\d+) -> ${port}`).exec(lines)![1]);
          const ask = async (port: number, line: string) => {
            const socket = connect({ host: "127.0.0.1", port: local(port), allowHalfOpen: true });
            socket.on("error", () => {});
            socket.end(line);
            return text(socket);
          };
          expect(await Promise.all(["abc", "defg", "x".repeat(100_000)].map((line) => ask(80, line)))).toEqual([
            "80 cba",
            "80 gfed",
            `80 ${"x".repeat(100_000)}`,
          ]);
          expect(await ask(81, "abc").catch(() => "")).toBe("");
          child.kill("SIGINT");
          expect(await new Response(child.stderr).text()).toContain("connection refused");
        } finally {
          child.kill("SIGKILL");
          await child.exited;
        }
      });

      if (way === "through the proxy") {
        test("a kubelet that is away is an error that names it", async () => {
          const { err, code } = await run(null, "exec", "p", "--", "away");
          expect([err, code]).toEqual([expect.stringContaining("error dialing backend: 127.0.0.1:1"), 1]);
        });
      }
    });
  }
}

describe("our client", () => {
  const target = (query: string) => ({ url: `${direct.url}/api/v1/namespaces/default/pods/p/exec?${query}`, tls: { ca: direct.cert } });

  test("runs a command with its terminal's sizes", async () => {
    const streams = { stdin: true, stdout: true, stderr: false, tty: true };
    const command = await dialExec(target("command=sizes&stdin=1&stdout=1&tty=1"), streams);
    command.resize({ width: 80, height: 24 });
    command.resize({ width: 1, height: 2 });
    expect(await text(command.stdout!)).toBe("80x24\n1x2\n");
    expect(exitCode(await command.status)).toBe(0);
    command.close();
  });

  test("gets the exit code, and the message of a failure", async () => {
    const streams = { stdin: false, stdout: true, stderr: true, tty: false };
    const command = await dialExec(target("command=exit&command=3&stdout=1&stderr=1"), streams);
    expect([await text(command.stdout!), await text(command.stderr!), exitCode(await command.status)]).toEqual([
      "to stdout\n",
      "to stderr\n",
      3,
    ]);
    const broken = await dialExec(target("command=broken&stdout=1&stderr=1"), streams);
    const status = await broken.status;
    expect([exitCode(status), status.message]).toEqual([undefined, "the runtime is on fire"]);
  });

  test("forwards ports", async () => {
    const session = await dialPortForward({ url: `${direct.url}/api/v1/namespaces/default/pods/p/portforward`, tls: { ca: direct.cert } });
    const [open, closed] = await Promise.all([session.connect(8080), session.connect(81)]);
    open.write(bytes("hello"));
    open.end();
    expect([await text(open.readable), await open.error, await closed.error]).toEqual([
      "8080 olleh",
      "",
      "error forwarding port 81: connection refused",
    ]);
    session.close();
    await session.closed;
  });

  test("gets the refusal of a server, and of one that is none", async () => {
    const streams = { stdin: false, stdout: false, stderr: false, tty: false };
    const refused = await dialExec(target("command=exit"), streams).catch((error) => error);
    expect(refused).toBeInstanceOf(UpgradeRefused);
    expect([refused.status, refused.message]).toEqual([400, expect.stringContaining("at least 1 of stdin, stdout, stderr")]);
    const other = createServer((socket) => socket.end("220 mail ready\r\n\r\n")).listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as AddressInfo;
    expect(dialExec({ url: `http://127.0.0.1:${port}/` }, streams)).rejects.toThrow("no answer of HTTP/1.1");
    other.close();
  });
});

test("@kubernetes/client-node runs a command over its v4 or v5 channels", async () => {
  const { Exec, KubeConfig } = await import("@kubernetes/client-node");
  const { PassThrough } = await import("node:stream");
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: "c", server: direct.url, skipTLSVerify: true }],
    users: [{ name: "u", token: "t" }],
    contexts: [{ name: "x", cluster: "c", user: "u" }],
    currentContext: "x",
  });
  const out = new PassThrough();
  const { promise, resolve } = Promise.withResolvers<object>();
  await new Exec(config).exec("default", "p", "c", ["exit", "7"], out, new PassThrough(), null, false, resolve);
  expect(exitCode((await promise) as Parameters<typeof exitCode>[0])).toBe(7);
  out.end();
  expect(await text(out)).toBe("to stdout\n");
});

test("copy ends what it writes to when the source ends", async () => {
  const written: Uint8Array[] = [];
  let ended = false;
  const to = {
    readable: (async function* () {})(),
    write: (data: Uint8Array) => void written.push(data),
    end: () => (ended = true),
    reset() {},
  };
  await copy(
    (async function* () {
      yield bytes("a");
      yield bytes("b");
    })(),
    to as unknown as ByteStream,
  );
  expect([Buffer.concat(written).toString(), ended]).toEqual(["ab", true]);
});
