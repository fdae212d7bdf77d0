// exec, attach and port-forward: the runtime tells where to stream, and the
// client's upgraded connection is passed through to there byte by byte, so
// that SPDY and WebSocket both work.
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { Upgrade } from "../../rpc/remotecommand/mod.ts";
import { rpcMessage } from "../cri/client.ts";
import type { PodContext } from "../pod/context.ts";
import { findContainer, type RuntimeContainer } from "../pod/runtime-pod.ts";
import type { PodManager } from "../pods.ts";
import { HttpError } from "./http.ts";

const flag = (q: URLSearchParams, ...names: string[]) => names.some((n) => /^(1|true)$/i.test(q.get(n) ?? ""));

/** The pod and what follows it: /verb/{namespace}/{pod}[/{uid}][/{container}]. */
function podOf(pods: PodManager, parts: string[], withContainer: boolean): { pod: coreV1.Pod; container: string } {
  const [namespace = "", name = "", ...rest] = parts;
  const container = withContainer ? (rest.pop() ?? "") : "";
  const pod = pods.find(namespace, name, rest[0]);
  if (!pod) throw new HttpError(404, `pod does not exist`);
  return { pod, container };
}

/** The running container. Throws HttpError 404. */
export function runningContainer(context: PodContext, pods: PodManager, parts: string[]): RuntimeContainer {
  return namedContainer(context, pods, parts).container;
}

function namedContainer(context: PodContext, pods: PodManager, parts: string[]): { pod: coreV1.Pod; container: RuntimeContainer } {
  const { pod, container } = podOf(pods, parts, true);
  const found = findContainer(context.pleg.get(pod.metadata.uid!), container);
  if (!found) throw new HttpError(404, `container not found (${JSON.stringify(container)})`);
  return { pod, container: found };
}

/** Serves an upgrade request for a verb. Throws HttpError before it is accepted. */
export async function serveStream(
  context: PodContext,
  pods: PodManager,
  verb: string,
  parts: string[],
  query: URLSearchParams,
  upgrade: Upgrade<IncomingMessage>,
): Promise<void> {
  if (verb === "attach" && flag(query, "input", "stdin")) {
    const { pod, container } = namedContainer(context, pods, parts.slice());
    const { attachesFromStart, attachFromStart } = await import("./attach.ts");
    if (attachesFromStart(pod, container.name) && (container.state === "running" || container.state === "exited"))
      return attachFromStart({ context, pods, uid: pod.metadata.uid!, container, upgrade });
  }
  passThrough(upgrade, await streamUrl(context, pods, verb, parts, query));
}

/** Where the runtime wants a request's stream. */
async function streamUrl(context: PodContext, pods: PodManager, verb: string, parts: string[], q: URLSearchParams): Promise<URL> {
  const { runtime } = context.cri;
  const stdin = flag(q, "input", "stdin");
  const stdout = flag(q, "output", "stdout");
  const stderr = flag(q, "error", "stderr");
  const tty = flag(q, "tty");
  try {
    if (verb === "exec") {
      const { id } = runningContainer(context, pods, parts);
      return new URL((await runtime.exec({ containerId: id, cmd: q.getAll("command"), stdin, stdout, stderr: stderr && !tty, tty })).url);
    }
    if (verb === "attach") {
      const { id } = runningContainer(context, pods, parts);
      return new URL((await runtime.attach({ containerId: id, stdin, stdout, stderr: stderr && !tty, tty })).url);
    }
    const { pod } = podOf(pods, parts, false);
    const sandbox = context.pleg.get(pod.metadata.uid!).sandboxes.find((s) => s.ready);
    if (!sandbox) throw new HttpError(404, `pod not found (${JSON.stringify(`${pod.metadata.name}_${pod.metadata.namespace}`)})`);
    const ports = q
      .getAll("port")
      .flatMap((p) => p.split(","))
      .filter((p) => p !== "")
      .map(Number);
    return new URL((await runtime.portForward({ podSandboxId: sandbox.id, port: ports })).url);
  } catch (error) {
    if (error instanceof HttpError) throw error;
    throw new HttpError(500, rpcMessage(error), { cause: error });
  }
}

/** Passes an upgrade request and all that follows through to a URL. */
function passThrough({ request, socket: client, head }: Upgrade<IncomingMessage>, url: URL): void {
  const upstream = connect({ host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) || 80 });
  const end = () => {
    upstream.destroy();
    client.destroy();
  };
  upstream.once("connect", () => {
    const lines = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
    const raw = request.rawHeaders;
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!;
      if (/^(host|authorization)$/i.test(name)) continue;
      lines.push(`${name}: ${raw[i + 1]}`);
    }
    upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
    if (head.length > 0) upstream.write(head);
    upstream.pipe(client);
    client.pipe(upstream);
  });
  upstream.once("error", (error) => {
    if (client.writable)
      client.end(
        `HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(error.message)}\r\n\r\n${error.message}`,
      );
    else end();
  });
  client.once("error", end);
  upstream.once("close", () => client.end());
  client.once("close", () => upstream.destroy());
}
