// log, exec, port-forward and proxies from kubectl through the apiserver to
// what answers as a kubelet does.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { acceptExec, acceptPortForward, execStreams, exitStatus, queryOf } from "../../rpc/remotecommand/mod.ts";
import { noKubectl, startApiServer, type TestApiServer } from "../../testing/api-server.ts";

const missing = noKubectl();
if (missing) console.log(`skipped: ${missing}`);

/** Says how long a body is, and otherwise greets. */
async function echoed(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname !== "/count") return new Response(`hello from ${pathname}`);
  let count = 0;
  for await (const chunk of request.body ?? []) count += chunk.length;
  return new Response(`${count} ${request.headers.get("content-length") ?? "chunked"}`);
}

describe.skipIf(missing !== undefined)("streams to a kubelet", () => {
  let s: TestApiServer;
  let kubelet: Server;
  let echo: ReturnType<typeof Bun.serve>;
  const seen: string[] = [];

  beforeAll(async () => {
    s = await startApiServer({ mayReach: () => true });
    const serving = await s.pki.leaf({ name: "kubelet", commonName: "system:node:n", hosts: ["127.0.0.1"] });
    kubelet = createServer({ ...serving }, (req, res) => {
      seen.push(req.url ?? "");
      if (req.url?.startsWith("/containerLogs/default/p/c")) {
        res.write("first\n");
        if (!req.url.includes("follow")) return res.end("second\n");
        setTimeout(() => res.end("later\n"), 50);
        return;
      }
      res.end(`you asked for ${req.url}`);
    });
    kubelet.on("upgrade", async (request, socket, head) => {
      seen.push(request.url ?? "");
      const upgrade = { request, socket, head };
      if (request.url?.startsWith("/portForward/")) {
        await acceptPortForward(upgrade, async (port, stream) => {
          const target = connect(port, "127.0.0.1");
          target.on("data", (d: Buffer) => void stream.write(new Uint8Array(d)));
          for await (const chunk of stream.readable) target.write(chunk);
          target.end();
          await new Promise((resolve) => target.once("close", resolve));
          stream.end();
        });
        return;
      }
      const session = await acceptExec(upgrade, execStreams(queryOf(upgrade)));
      if (!session) return;
      for await (const chunk of session.stdin ?? []) await session.stdout?.write(Buffer.concat([Buffer.from("got "), chunk]));
      await session.stderr?.write(Buffer.from(`ran ${queryOf(upgrade).getAll("command").join(" ")}\n`));
      session.finish(exitStatus(7));
    });
    await new Promise<void>((resolve) => kubelet.listen(0, "127.0.0.1", resolve));
    echo = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: echoed, maxRequestBodySize: 2 ** 30 });
    const { port } = kubelet.address() as AddressInfo;
    const create = (o: object) => s.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(o) });
    await create({ apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
    const status = { addresses: [{ type: "InternalIP", address: "127.0.0.1" }], daemonEndpoints: { kubeletEndpoint: { Port: port } } };
    await s.kubectl(["patch", "node", "n", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
    await s.kubectl(["create", "serviceaccount", "default"]);
    const containers = [{ name: "c", image: "x", ports: [{ containerPort: echo.port }] }];
    await create({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { nodeName: "n", containers } });
    const running = { phase: "Running", podIP: "127.0.0.1", podIPs: [{ ip: "127.0.0.1" }] };
    await s.kubectl(["patch", "pod", "p", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: running })]);
  });
  afterAll(async () => {
    kubelet?.close();
    kubelet?.closeAllConnections();
    await echo?.stop(true);
    await s?.[Symbol.asyncDispose]();
  });

  test("kubectl logs, whole and followed", async () => {
    expect(await s.kubectl(["logs", "p", "--tail=5"])).toBe("first\nsecond\n");
    expect(seen.at(-1)).toBe("/containerLogs/default/p/c?tailLines=5");
    expect(await s.kubectl(["logs", "-f", "p"])).toBe("first\nlater\n");
    expect(await s.kubectl(["logs", "p", "-c", "other"], { fails: true })).toContain("container other is not valid for pod p");
  });

  for (const websocket of ["true", "false"])
    test(`kubectl exec by ${websocket === "true" ? "WebSocket" : "SPDY"} carries input, output and the exit code`, async () => {
      const child = Bun.spawn(["kubectl", "exec", "-i", "p", "--", "echo", "a b"], {
        env: { ...process.env, KUBECONFIG: s.kubeconfig, KUBECTL_REMOTE_COMMAND_WEBSOCKETS: websocket },
        stdin: Buffer.from("typed\n"),
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
      expect(out).toBe("got typed\n");
      expect(err).toContain("ran echo a b\n");
      expect(code).toBe(7);
    });

  for (const websocket of ["true", "false"])
    test(`kubectl port-forward by ${websocket === "true" ? "WebSocket" : "SPDY"} reaches the port`, async () => {
      const child = Bun.spawn(["kubectl", "port-forward", "pod/p", `:${echo.port}`], {
        env: { ...process.env, KUBECONFIG: s.kubeconfig, KUBECTL_PORT_FORWARD_WEBSOCKETS: websocket },
        stdout: "pipe",
        stderr: "pipe",
      });
      try {
        // Read to the end: kubectl ends when nobody takes what it says.
        const reader = child.stdout.getReader();
        let text = "";
        while (!/127\.0\.0\.1:(\d+)/.test(text)) text += Buffer.from((await reader.read()).value!).toString();
        const port = /127\.0\.0\.1:(\d+)/.exec(text)![1];
        for (let i = 0; i < 3; i++) expect(await (await fetch(`http://127.0.0.1:${port}/x${i}`)).text()).toBe(`hello from /x${i}`);
      } finally {
        child.kill();
        await child.exited;
      }
    });

  test("proxies reach the kubelet and the pod", async () => {
    expect(await s.kubectl(["get", "--raw", "/api/v1/nodes/n/proxy/stats/summary?only=cpu"])).toBe("you asked for /stats/summary?only=cpu");
    expect(await s.kubectl(["get", "--raw", `/api/v1/namespaces/default/pods/p:${echo.port}/proxy/page`])).toBe("hello from /page");
  });

  test("a proxy passes bodies of any length on", async () => {
    const { cert, key } = s.admin;
    const post = async (bytes: number) => {
      const response = await fetch(`${s.server}/api/v1/namespaces/default/pods/p:${echo.port}/proxy/count`, {
        method: "POST",
        body: new Uint8Array(bytes),
        tls: { ca: s.ca, cert, key },
      });
      return response.text();
    };
    expect(await post(1000)).toBe("1000 1000");
    expect(await post(70 << 20)).toStartWith(`${70 << 20} `);
  });

  test("a stream that the user may not open is refused before anything happens", async () => {
    const before = seen.length;
    const jane = await s.kubeconfigFor("jane");
    expect(await s.kubectl(["exec", "p", "--", "true"], { kubeconfig: jane, fails: true })).toContain("Forbidden");
    expect(seen.length).toBe(before);
  });
});
