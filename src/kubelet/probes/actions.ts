// What a probe does: exec, httpGet, tcpSocket or grpc.
import { connect } from "node:net";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { type Cri, rpcMessage } from "../cri/client.ts";
import { kubeletVersion } from "../version.ts";

export interface Outcome {
  ok: boolean;
  /** What the event says. */
  output: string;
  /** Nobody listened: the application has not seen the probe. */
  refused?: boolean;
}

/** The number of a port given by number or by a name of the container's. Throws an Error. */
export function resolvePort(port: number | string, container: coreV1.Container): number {
  const n = Number(port);
  if (Number.isInteger(n) && n > 0 && n < 65_536) return n;
  const named = container.ports?.find((p) => p.name === port);
  if (!named) throw new Error(`couldn't find port: ${JSON.stringify(port)} in container ${container.name}`);
  return named.containerPort;
}

interface Answer {
  status: number;
  body: string;
}

const maxBody = 10_240;
/** Milliseconds that a runtime has to say that a command timed out. */
const execGrace = 10_000;
const maxRedirects = 10;
const hostPort = (host: string, port: number) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);

/** An httpGet action's request; follows redirects that stay on the host. Throws an Error in Go's words. */
export async function httpRequest(action: coreV1.HTTPGetAction, host: string, port: number, timeout: number): Promise<Answer> {
  const scheme = (action.scheme ?? "HTTP").toLowerCase();
  const path = action.path ?? "/";
  let url = new URL(`${scheme}://${hostPort(host, port)}${path.startsWith("/") ? path : `/${path}`}`);
  const headers = new Headers();
  for (const h of action.httpHeaders ?? []) headers.append(h.name, h.value);
  if (!headers.has("User-Agent")) headers.set("User-Agent", `kube-probe/${kubeletVersion.replace(/^v(\d+\.\d+).*/, "$1")}`);
  if (!headers.has("Accept")) headers.set("Accept", "*/*");
  const signal = AbortSignal.timeout(timeout);
  for (let i = 0; ; i++) {
    let response: Response;
    try {
      response = await fetch(url, { headers, redirect: "manual", keepalive: false, signal, tls: { rejectUnauthorized: false } });
    } catch (error) {
      throw Object.assign(new Error(`Get ${JSON.stringify(url.href)}: ${reason(error, host, port)}`, { cause: error }), {
        refused: isRefused(error),
      });
    }
    const location = response.headers.get("Location");
    if (response.status >= 300 && response.status < 400 && location) {
      const next = new URL(location, url);
      await response.body?.cancel();
      // A redirect elsewhere counts as an answer, as upstream's does.
      if (next.hostname !== url.hostname) return { status: response.status, body: `Probe terminated redirects, Response body: ` };
      if (i >= maxRedirects) throw new Error(`Get ${JSON.stringify(next.href)}: stopped after 10 redirects`);
      url = next;
      continue;
    }
    const body = await response.text().catch(() => "");
    return { status: response.status, body: body.slice(0, maxBody) };
  }
}

const isRefused = (error: unknown): boolean => {
  const code = (error as { code?: string }).code ?? "";
  return code === "ConnectionRefused" || code === "ECONNREFUSED";
};

function reason(error: unknown, host: string, port: number): string {
  const { name, code, message } = error as Error & { code?: string };
  if (isRefused(error)) return `dial tcp ${hostPort(host, port)}: connect: connection refused`;
  if (name === "TimeoutError" || code === "ETIMEDOUT") return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  if (code === "EHOSTUNREACH") return `dial tcp ${hostPort(host, port)}: connect: no route to host`;
  return code === "ConnectionClosed" || code === "ECONNRESET" ? "EOF" : message;
}

async function http(action: coreV1.HTTPGetAction, container: coreV1.Container, podIP: string, timeout: number): Promise<Outcome> {
  try {
    const answer = await httpRequest(action, action.host || podIP, resolvePort(action.port, container), timeout);
    if (answer.status >= 200 && answer.status < 400) return { ok: true, output: answer.body };
    return { ok: false, output: `HTTP probe failed with statuscode: ${answer.status}` };
  } catch (error) {
    return { ok: false, output: (error as Error).message, refused: (error as { refused?: boolean }).refused };
  }
}

function tcp(host: string, port: number, timeout: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (outcome: Outcome) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const at = hostPort(host, port);
    const timer = setTimeout(() => end({ ok: false, output: `dial tcp ${at}: i/o timeout` }), timeout);
    socket.once("connect", () => end({ ok: true, output: "" }));
    socket.once("error", (error) =>
      end({
        ok: false,
        output: `dial tcp ${at}: ${isRefused(error) ? "connect: connection refused" : error.message}`,
        refused: isRefused(error),
      }),
    );
  });
}

async function exec(cri: Cri, containerId: string, command: string[], timeout: number): Promise<Outcome> {
  try {
    const answer = await cri.runtime.execSync(
      { containerId, cmd: command, timeout: BigInt(Math.ceil(timeout / 1000)) },
      { timeout: timeout + execGrace },
    );
    const output = Buffer.concat([answer.stdout, answer.stderr]).subarray(0, maxBody).toString("utf8");
    return { ok: answer.exitCode === 0, output };
  } catch (error) {
    if (error instanceof RpcError && error.code === Code.DeadlineExceeded)
      return { ok: false, output: `command timed out: ${JSON.stringify(command.join(" "))} timed out after ${timeout / 1000}s` };
    return { ok: false, output: rpcMessage(error) };
  }
}

export interface ProbeTarget {
  cri: Cri;
  container: coreV1.Container;
  containerId: string;
  podIP: string;
}

/** Runs a probe once. Never throws: what went wrong is the outcome. */
export async function runProbe(probe: coreV1.Probe, target: ProbeTarget): Promise<Outcome> {
  const timeout = (probe.timeoutSeconds ?? 1) * 1000;
  try {
    if (probe.exec) return await exec(target.cri, target.containerId, probe.exec.command ?? [], timeout);
    if (probe.httpGet) return await http(probe.httpGet, target.container, target.podIP, timeout);
    if (probe.tcpSocket)
      return await tcp(probe.tcpSocket.host || target.podIP, resolvePort(probe.tcpSocket.port, target.container), timeout);
    if (probe.grpc) {
      const { grpcHealth } = await import("./grpc-health.ts");
      return await grpcHealth(target.podIP, probe.grpc.port, probe.grpc.service ?? "", timeout);
    }
    return { ok: false, output: `missing probe handler for ${target.container.name}` };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}
