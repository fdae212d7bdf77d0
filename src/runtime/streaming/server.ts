// The server that exec, attach and port-forward are streamed through: on
// loopback, at addresses with a token that works once and for a short time.
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "../../platform/log.ts";
import type { AttachRequest } from "./attach.ts";
import type { ExecRequest } from "./exec.ts";
import type { PortForwardRequest } from "./port-forward.ts";

interface Streams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

type Pending =
  | { kind: "exec"; request: ExecRequest & Streams }
  | { kind: "attach"; request: AttachRequest & Streams }
  | { kind: "portforward"; request: PortForwardRequest };

/** Milliseconds that a token waits for its client. */
const TOKEN_LIFE = 60_000;
const MAX_PENDING = 1000;

export class StreamingServer {
  readonly #log: Logger;
  readonly #pending = new Map<string, { what: Pending; until: number }>();
  #server: Server | undefined;
  #base = "";

  constructor(log: Logger) {
    this.#log = log;
  }

  async start(): Promise<void> {
    const server = createServer((_, response) => {
      response.writeHead(400, { "content-type": "text/plain" }).end("Upgrade request required\n");
    });
    server.on("upgrade", (request, socket, head) => {
      this.#upgrade(request, socket, head).catch((error: unknown) => {
        this.#log.error("A streaming session failed", error);
        socket.destroy();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    this.#base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#server = server;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
    this.#server = undefined;
  }

  exec(request: ExecRequest & Streams): string {
    return this.#url({ kind: "exec", request });
  }

  attach(request: AttachRequest & Streams): string {
    return this.#url({ kind: "attach", request });
  }

  portForward(request: PortForwardRequest): string {
    return this.#url({ kind: "portforward", request });
  }

  #url(what: Pending): string {
    const now = Date.now();
    for (const [token, { until }] of this.#pending) if (until < now || this.#pending.size >= MAX_PENDING) this.#pending.delete(token);
    const token = randomBytes(24).toString("base64url");
    this.#pending.set(token, { what, until: now + TOKEN_LIFE });
    return `${this.#base}/${what.kind}/${token}`;
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const [, kind, token = ""] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    const upgrade = { request, socket, head };
    const { acceptExec, acceptPortForward, refuse } = await import("../../rpc/remotecommand/mod.ts");
    if (pending === undefined || pending.until < Date.now() || pending.what.kind !== kind) {
      refuse(upgrade, 404, "no such session, or it has expired");
      return;
    }
    const { what } = pending;
    if (what.kind === "portforward") {
      const { servePortForward } = await import("./port-forward.ts");
      return await servePortForward(upgrade, what.request, acceptPortForward);
    }
    const { stdin, stdout, stderr, tty } = what.request;
    const client = await acceptExec(upgrade, { stdin, stdout, stderr: stderr && !tty, tty });
    if (client === undefined) return;
    if (what.kind === "exec") {
      const { serveExec } = await import("./exec.ts");
      await serveExec(client, what.request);
    } else {
      const { serveAttach } = await import("./attach.ts");
      await serveAttach(client, what.request);
    }
  }
}
