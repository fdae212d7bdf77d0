// The kubelet's own API (HTTPS): what the apiserver asks of it for logs, exec,
// attach and port-forward, and what monitoring reads.
import type { IncomingMessage } from "node:http";
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Logger } from "../../platform/log.ts";
import { rpcMessage } from "../cri/client.ts";
import type { KubeletOptions } from "../options.ts";
import type { PodContext } from "../pod/context.ts";
import type { PodManager } from "../pods.ts";
import { Authorizer } from "./auth.ts";
import { HttpError, Reply } from "./http.ts";
import { containerLogs } from "./logs.ts";
import { metricsText, resourceMetrics } from "./metrics.ts";
import { summary } from "./stats.ts";
import { runningContainer, serveStream } from "./streaming.ts";

export interface KubeletServerOptions {
  serving: NonNullable<KubeletOptions["serving"]>;
  context: PodContext;
  pods: PodManager;
  nodeName: string;
  configz: Record<string, unknown>;
  /** What is wrong with the kubelet, if anything. */
  trouble(): string | undefined;
  log: Logger;
}

type Handler = (server: KubeletServer, parts: string[], query: URLSearchParams, reply: Reply) => Promise<void> | void;

const prometheus = "text/plain; version=0.0.4; charset=utf-8";

const routes: Record<string, Handler> = {
  healthz: (s, parts, _, reply) => {
    const trouble = parts[0] === "ping" ? undefined : s.options.trouble();
    reply.text(trouble ? 500 : 200, trouble ?? "ok");
  },
  pods: (s, _, __, reply) => reply.json({ kind: "PodList", apiVersion: "v1", metadata: {}, items: s.options.pods.pods }),
  runningpods: (s, _, __, reply) =>
    reply.json({
      kind: "PodList",
      apiVersion: "v1",
      metadata: {},
      items: [...s.options.context.pleg.all.values()].map((rt) => ({
        metadata: { name: rt.name, namespace: rt.namespace, uid: rt.uid },
        spec: { containers: rt.containers.filter((c) => c.state === "running").map((c) => ({ name: c.name, image: c.image })) },
        status: {},
      })),
    }),
  configz: (s, _, __, reply) => reply.json({ kubeletconfig: s.options.configz }),
  metrics: async (s, parts, _, reply) => {
    if (parts[0] === "resource") return reply.text(200, await resourceMetrics(s.options.context, s.options.pods), prometheus);
    if (parts.length > 0) throw new HttpError(404, "404 page not found\n");
    reply.text(200, metricsText(s.options.context, s.options.pods, s.options.nodeName), prometheus);
  },
  stats: async (s, parts, _, reply) => {
    if (parts[0] !== "summary") throw new HttpError(404, "404 page not found\n");
    reply.json(await summary(s.options.context, s.options.pods, s.options.nodeName));
  },
  containerLogs: (s, parts, query, reply) => containerLogs(s.options.context, s.options.pods, parts, query, reply),
  run: async (s, parts, query, reply) => {
    const { id } = runningContainer(s.options.context, s.options.pods, parts);
    const cmd = (query.get("cmd") ?? "").split(" ").filter((w) => w !== "");
    const answer = await s.options.context.cri.runtime.execSync({ containerId: id, cmd, timeout: 0n });
    reply.text(200, Buffer.concat([answer.stdout, answer.stderr]).toString("utf8"));
  },
};

const streams = new Set(["exec", "attach", "portForward"]);

export class KubeletServer {
  readonly options: KubeletServerOptions;
  readonly #server: Http2SecureServer;
  readonly #authorizer: Authorizer;
  readonly #sockets = new Set<Duplex>();

  private constructor(options: KubeletServerOptions, server: Http2SecureServer) {
    this.options = options;
    this.#server = server;
    this.#authorizer = new Authorizer(options.context.transport, options.nodeName);
    server.on("request", (request, response) => void this.#request(request, response));
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => void this.#upgrade(request, socket, head));
    server.on("connection", (socket: Duplex) => this.#track(socket));
    server.on("secureConnection", (socket: Duplex) => this.#track(socket));
  }

  /** Listens; rejects with what keeps it from that. */
  static async start(options: KubeletServerOptions): Promise<KubeletServer> {
    const { host, port, tls, fallbackToFreePort } = options.serving;
    const server = createSecureServer({
      cert: tls.cert,
      key: tls.key,
      ca: tls.clientCa,
      requestCert: true,
      // Without a certificate a token may do.
      rejectUnauthorized: false,
      allowHTTP1: true,
    });
    const made = new KubeletServer(options, server);
    const listen = (at: number) =>
      new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(at, host, () => {
          server.off("error", reject);
          resolve();
        });
      });
    try {
      await listen(port);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || !fallbackToFreePort)
        throw new Error(`the kubelet can't listen on ${host}:${port}: ${(error as Error).message}`, { cause: error });
      await listen(0);
    }
    return made;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get address(): string {
    const { host } = this.options.serving;
    return `https://${host.includes(":") ? `[${host}]` : host}:${this.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #track(socket: Duplex): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    // A client that goes away is no error of ours.
    socket.on("error", () => socket.destroy());
  }

  async #request(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const reply = new Reply(response);
    try {
      const { url, parts } = this.#parse(request.url);
      await this.#authorize(request.socket as TLSSocket, request.headers.authorization, request.method, url.pathname);
      const verb = parts.shift() ?? "";
      if (streams.has(verb)) throw new HttpError(400, "Upgrade request required");
      const handler = Object.hasOwn(routes, verb) ? routes[verb] : undefined;
      if (!handler) throw new HttpError(404, "404 page not found\n");
      await handler(this, parts, url.searchParams, reply);
    } catch (error) {
      if (reply.begun) {
        this.options.log.warn("An answer broke off", { path: request.url, err: error });
        return reply.end();
      }
      const status = error instanceof HttpError ? error.status : 500;
      if (status === 500) this.options.log.error("A request failed", error, { path: request.url });
      reply.text(status, error instanceof HttpError ? error.message : rpcMessage(error));
    }
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#track(socket);
    try {
      const { url, parts } = this.#parse(request.url ?? "/");
      await this.#authorize(request.socket as TLSSocket, request.headers.authorization, request.method ?? "GET", url.pathname);
      const verb = parts.shift() ?? "";
      if (!streams.has(verb)) throw new HttpError(404, "404 page not found\n");
      await serveStream(this.options.context, this.options.pods, verb, parts, url.searchParams, { request, socket, head });
    } catch (error) {
      const status = error instanceof HttpError ? error.status : 500;
      const text = error instanceof HttpError ? error.message : rpcMessage(error);
      socket.end(
        `HTTP/1.1 ${status} Error\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      );
    }
  }

  #parse(path: string): { url: URL; parts: string[] } {
    const url = new URL(path, "https://kubelet");
    const parts = url.pathname
      .split("/")
      .filter((p) => p !== "")
      .map(decodeURIComponent);
    return { url, parts };
  }

  async #authorize(socket: TLSSocket, authorization: string | undefined, method: string, path: string): Promise<void> {
    // As upstream's health endpoint on localhost: it tells nothing.
    if (path === "/healthz" || path === "/healthz/ping") return;
    await this.#authorizer.check(socket, authorization, method, path);
  }
}
