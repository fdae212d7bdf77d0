// Exec, attach and port-forward through the streaming server, over SPDY.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dialExec, dialPortForward, type ExecStreams, exitCode, UpgradeRefused } from "../../rpc/remotecommand/mod.ts";
import { missing, TestHost } from "../testing/host.ts";
import { ended, logOf, runPod, startContainer, until } from "../testing/pods.ts";

const reason = missing();
if (reason !== undefined) console.log(`skipped: ${reason}`);

const utf8 = new TextEncoder();
async function all(stream: AsyncIterable<Uint8Array> | undefined): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk.slice());
  return Buffer.concat(chunks).toString();
}
const streams = (names: string, tty = false): ExecStreams => ({
  stdin: names.includes("i"),
  stdout: names.includes("o"),
  stderr: names.includes("e"),
  tty,
});

describe.skipIf(reason !== undefined)("streaming", () => {
  let host: TestHost;
  let pod: Awaited<ReturnType<typeof runPod>>;
  let containerId: string;
  beforeAll(async () => {
    host = await new TestHost().up();
    await host.busybox();
    pod = await runPod(host);
    containerId = await startContainer(host, pod, "sleep 1000");
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
  });

  const exec = async (cmd: string[], wanted: ExecStreams) => {
    const { url } = await host.runtime.exec({ containerId, cmd, ...wanted });
    return await dialExec({ url }, wanted);
  };

  test("exec carries input, both outputs and the exit code", async () => {
    const command = await exec(["sh", "-c", "cat; echo problem >&2; exit 4"], streams("ioe"));
    command.stdin!.write(utf8.encode("from the client\n"));
    command.stdin!.end();
    const [out, err, status] = await Promise.all([all(command.stdout), all(command.stderr), command.status]);
    expect([out, err, exitCode(status)]).toEqual(["from the client\n", "problem\n", 4]);
  });

  test("megabytes go through exec both ways unchanged", async () => {
    const command = await exec(["cat"], streams("io"));
    const data = Buffer.alloc(3 << 20, "0123456789abcdef");
    const feed = (async () => {
      for (let at = 0; at < data.length; at += 60_000) await command.stdin!.write(data.subarray(at, at + 60_000));
      command.stdin!.end();
    })();
    const out = await all(command.stdout);
    await feed;
    expect(out.length).toBe(data.length);
    expect(Bun.hash(out)).toBe(Bun.hash(data.toString()));
    expect(exitCode(await command.status)).toBe(0);
  });

  test("a terminal is one, has the client's size, and takes input", async () => {
    const command = await exec(["sh"], streams("io", true));
    command.resize({ width: 123, height: 45 });
    let text = "";
    const reading = (async () => {
      for await (const chunk of command.stdout!) text += Buffer.from(chunk).toString();
    })();
    await until(async () => {
      command.stdin!.write(utf8.encode("stty size\n"));
      await Bun.sleep(50);
      return text.includes("45 123") || undefined;
    });
    command.stdin!.write(utf8.encode("tty; exit 3\n"));
    expect(exitCode(await command.status)).toBe(3);
    await reading;
    expect(text).toContain("/dev/pts/");
  });

  test("a command ends when its client goes", async () => {
    const command = await exec(["sleep", "777"], streams("o"));
    const running = async () => {
      const { stdout } = await host.runtime.execSync({ containerId, cmd: ["ps"], timeout: 60n });
      return new TextDecoder().decode(stdout).includes("sleep 777");
    };
    await until(async () => (await running()) || undefined);
    command.close();
    await until(async () => !(await running()) || undefined);
  });

  test("a command that isn't there is told on the error stream", async () => {
    const command = await exec(["/absent"], streams("oe"));
    const { message } = await command.status;
    expect(message).toContain('exec: "/absent"');
  });

  test("attach carries the container's own streams until it ends", async () => {
    const id = await startContainer(
      host,
      pod,
      'while read line; do echo "got $line"; [ $line = err ] && echo oops >&2; done; echo over; exit 5',
      {
        stdin: true,
        stdinOnce: true,
      } as never,
    );
    const wanted = streams("ioe");
    const { url } = await host.runtime.attach({ containerId: id, ...wanted });
    const session = await dialExec({ url }, wanted);
    session.stdin!.write(utf8.encode("one\nerr\n"));
    session.stdin!.end();
    const [out, err, status] = await Promise.all([all(session.stdout), all(session.stderr), session.status]);
    expect([out, err, exitCode(status)]).toEqual(["got one\ngot err\nover\n", "oops\n", 0]);
    expect((await ended(host, id)).exitCode).toBe(5);
    // Between the two streams there is no order.
    expect((await logOf(host, id)).split("\n").sort()).toEqual(["got err", "got one", "oops", "over"]);
  });

  test("attach to a terminal sees what is typed, and its size", async () => {
    const size = "until stty size | grep '33 99'; do sleep 0.02; done";
    const id = await startContainer(host, pod, `read x; ${size}; echo "<$x>"`, { stdin: true, tty: true } as never);
    const wanted = streams("io", true);
    const { url } = await host.runtime.attach({ containerId: id, ...wanted });
    const session = await dialExec({ url }, wanted);
    session.resize({ width: 99, height: 33 });
    session.stdin!.write(utf8.encode("hi\n"));
    const text = await all(session.stdout);
    expect(text).toContain("33 99");
    expect(text).toContain("<hi>");
    await ended(host, id);
  });

  test("port-forward reaches a listener on the pod's loopback, and says when there is none", async () => {
    const server = join(host.dir, "server");
    mkdirSync(server);
    writeFileSync(
      join(server, "main.ts"),
      'Bun.listen({ hostname: "127.0.0.1", port: 7070, socket: { data(s, d) { s.write("echo " + d); s.end(); } } }); console.log("up");',
    );
    const id = await startContainer(host, pod, "", {
      image: { image: "kubun.dev/bun" },
      command: [],
      args: ["/app/main.ts"],
      mounts: [{ containerPath: "/app", hostPath: server, readonly: true }],
    } as never);
    await until(async () => (await logOf(host, id)).includes("up") || undefined);
    const { url } = await host.runtime.portForward({ podSandboxId: pod.id, port: [7070] });
    const forward = await dialPortForward({ url });
    const connection = await forward.connect(7070);
    connection.write(utf8.encode("hello"));
    expect(await all(connection.readable)).toBe("echo hello");
    connection.end();
    expect(await connection.error).toBe("");
    const closed = await forward.connect(7071);
    expect(await closed.error).toContain("failed to connect to localhost:7071");
    forward.close();
    await host.runtime.stopContainer({ containerId: id, timeout: 0n });
  });

  test("an address works once", async () => {
    const wanted = streams("o");
    const { url } = await host.runtime.exec({ containerId, cmd: ["echo"], ...wanted });
    await (await dialExec({ url }, wanted)).status;
    await expect(dialExec({ url }, wanted)).rejects.toBeInstanceOf(UpgradeRefused);
  });
});
