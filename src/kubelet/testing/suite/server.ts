// The kubelet's own server.
import { expect, test } from "bun:test";
import { dialExec, exitCode } from "../../../rpc/remotecommand/mod.ts";
import { eventually } from "../node.ts";
import { forever, type Subject } from "./subject.ts";

export function serverTests(subject: () => Subject): void {
  test("passes exec through to the runtime, with its exit code", async () => {
    const { node } = subject();
    await node.run("shell", forever);
    await node.ready("shell");
    const query = new URLSearchParams([
      ["command", "sh"],
      ["command", "-c"],
      ["command", "cat; echo err >&2; exit 7"],
      ["input", "1"],
      ["output", "1"],
      ["error", "1"],
    ]);
    const streams = { stdin: true, stdout: true, stderr: true, tty: false };
    const command = await dialExec(
      { url: node.url(`/exec/default/shell/c?${query}`), tls: await node.clientTls(), method: "POST" },
      streams,
    );
    const read = async (stream: AsyncIterable<Uint8Array>) => {
      let text = "";
      for await (const chunk of stream) text += Buffer.from(chunk).toString();
      return text;
    };
    command.stdin!.write(Buffer.from("typed"));
    command.stdin!.end();
    expect(await Promise.all([read(command.stdout!), read(command.stderr!)])).toEqual(["typed", "err\n"]);
    expect(exitCode(await command.status)).toBe(7);
    command.close();
  });

  test("refuses its API to those without the right, and tells what is not there", async () => {
    const { node } = subject();
    expect((await fetch(node.url("/pods"), { tls: { rejectUnauthorized: false } })).status).toBe(401);
    expect((await node.get("/pods", "developers")).status).toBe(403);
    expect((await node.get("/containerLogs/default/nobody/c")).status).toBe(404);
    expect((await node.get("/exec/default/shell/c")).status).toBe(400);
    expect(await (await node.get("/healthz")).text()).toBe("ok");
  });

  test("tells what its pods use", async () => {
    const { node } = subject();
    const stats = await (await node.get("/stats/summary")).json();
    const shell = stats.pods.find((p: { podRef: { name: string } }) => p.podRef.name === "shell");
    expect(shell.containers[0].memory.workingSetBytes).toBeGreaterThan(0);
    expect(await (await node.get("/metrics/resource")).text()).toMatch(
      /container_memory_working_set_bytes\{container="c",namespace="default",pod="shell"\} \d+/,
    );
    expect(await (await node.get("/metrics")).text()).toContain('kubelet_node_name{node="n1"} 1');
    await node.delete("shell");
  });

  test("attaches from the beginning to a container that takes input once, also when it has ended", async () => {
    const { node } = subject();
    const streams = { stdin: true, stdout: true, stderr: true, tty: false };
    const attach = async (name: string) =>
      dialExec(
        { url: node.url(`/attach/default/${name}/c?input=1&output=1&error=1`), tls: await node.clientTls(), method: "POST" },
        streams,
      );
    const read = async (stream: AsyncIterable<Uint8Array>) => {
      let text = "";
      for await (const chunk of stream) text += Buffer.from(chunk).toString();
      return text;
    };
    const once = { stdin: true, stdinOnce: true };
    await node.run("once", "echo early; echo err >&2; cat; printf late", once, { restartPolicy: "Never" });
    await node.ready("once");
    await eventually("the first line", async () => (await node.logs("once")).includes("early") || undefined);
    const live = await attach("once");
    live.stdin!.write(Buffer.from("typed\n"));
    live.stdin!.end();
    expect(await Promise.all([read(live.stdout!), read(live.stderr!)])).toEqual(["early\ntyped\nlate", "err\n"]);
    expect(exitCode(await live.status)).toBe(0);
    await node.ended("once");
    const after = await attach("once");
    // From the log alone some runtimes leave open whether the last line has an end.
    const [out, err] = await Promise.all([read(after.stdout!), read(after.stderr!)]);
    expect([out.replace(/late\n$/, "late"), err]).toEqual(["early\ntyped\nlate", "err\n"]);
    expect(exitCode(await after.status)).toBe(0);
    await node.delete("once");
  });
}
