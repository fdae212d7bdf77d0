// The chain of a request: who sends it, as whom, how many at once, may they,
// and then the path's own handler. Hono routes.
import type { Duplex } from "node:stream";
import { Hono } from "hono";
import { internalError, StatusError, timeout, unauthorized } from "../../api/status.ts";
import { logger } from "../../platform/log.ts";
import { type Api, unknownPath } from "../api.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import type { Connect } from "../kubelet/connect.ts";
import { anonymous, type UserInfo } from "../request.ts";
import type { StorageSizes } from "../storage/sizes.ts";
import { type Asked, ask, isRead, labelsOf } from "./asked.ts";
import type { Documents } from "./documents.ts";
import { type HealthChecks, health } from "./health.ts";
import { impersonated } from "./impersonation.ts";
import type { Incoming } from "./incoming.ts";
import type { InFlight } from "./inflight.ts";
import { ApiMetrics } from "./metrics.ts";
import { documentPath, isOldWatch } from "./path.ts";
import { json, Reply } from "./reply.ts";
import { handleResource } from "./resources.ts";

const log = logger("kube-apiserver");

export interface AppOptions {
  api: Api;
  authenticator: Authenticator;
  /** Requests without credentials are served as system:anonymous. */
  anonymous: boolean;
  inflight: InFlight;
  health: HealthChecks;
  documents: Documents;
  metrics: { countObjects: boolean; sizes: StorageSizes };
  connect: Connect;
}

interface Routed extends Asked {
  incoming: Incoming;
  user: UserInfo;
}

type Env = { Bindings: Routed };

export class App {
  readonly #options: AppOptions;
  readonly #hono: Hono<Env>;
  readonly metrics = new ApiMetrics();

  constructor(options: AppOptions) {
    this.#options = options;
    this.#hono = this.#routes();
  }

  /** Answers a request of somebody who is known already. */
  async fetchAs(user: UserInfo, incoming: Incoming): Promise<Response> {
    const asked = ask(incoming);
    if (!asked.target) this.#options.api.check({ user, verb: incoming.method.toLowerCase(), path: asked.path });
    return this.#route(incoming, user, asked);
  }

  /** Answers a request; never rejects. */
  async fetch(incoming: Incoming): Promise<Response> {
    const started = performance.now();
    const { api, inflight, connect } = this.#options;
    let asked: Asked | undefined;
    let leave: (() => void) | undefined;
    let reply: Response;
    try {
      asked = ask(incoming);
      const { target, watch, path } = asked;
      incoming.unhurried = watch || (target !== undefined && connect.handles(target));
      const user = await this.#who(incoming);
      if (!incoming.unhurried) leave = inflight.enter(!isRead(incoming.method));
      if (!target) api.check({ user, verb: incoming.method.toLowerCase(), path });
      reply = await this.#route(incoming, user, asked);
    } catch (error) {
      reply = failure(error, incoming);
    }
    const code = reply instanceof Reply ? reply.code : reply.status;
    const labels = labelsOf(incoming.method, this.#served(asked));
    const left = incoming.unhurried ? this.metrics.enter(labels) : leave;
    incoming.onDone = (bytes) => {
      left?.();
      this.metrics.observe(labels, code, (performance.now() - started) / 1000, bytes);
    };
    return reply;
  }

  /** The answer to a request that takes longer than it may. */
  late(incoming: Incoming): Response {
    return failure(timeout("request did not complete within the allotted timeout"), incoming);
  }

  #route(incoming: Incoming, user: UserInfo, asked: Asked): Response | Promise<Response> {
    // Hono would make a Response without a body, and without what stands beside it, of the answer to HEAD.
    const request = incoming.method === "HEAD" ? { method: "GET", url: incoming.url } : incoming;
    return this.#hono.fetch(request as Request, { incoming, user, ...asked });
  }

  /** What is asked for, where it is something that is served. */
  #served(asked: Asked | undefined): Asked | undefined {
    return asked?.target && !this.#options.api.serves(asked.target) ? undefined : asked;
  }

  /** Answers a request to upgrade the connection; never rejects. */
  async upgrade(incoming: Incoming, socket: Duplex, head: Uint8Array): Promise<void> {
    const started = performance.now();
    let asked: Asked | undefined;
    let code = 101;
    let leave: (() => void) | undefined;
    try {
      asked = ask(incoming);
      const { query, target } = asked;
      leave = this.metrics.enter(labelsOf("CONNECT", this.#served(asked)));
      const user = await this.#who(incoming);
      if (!target || !this.#options.connect.handles(target)) throw unknownPath();
      await this.#options.connect.upgrade({ incoming, context: { user }, target, query }, socket, head);
    } catch (error) {
      const { code: refused, payload } = failure(error, incoming);
      code = refused;
      if (socket.writable) await refuse(incoming, socket, head, code, String(payload));
    } finally {
      leave?.();
    }
    this.metrics.observe(labelsOf("CONNECT", this.#served(asked)), code, (performance.now() - started) / 1000, 0);
  }

  async #who(incoming: Incoming): Promise<UserInfo> {
    const { api, authenticator } = this.#options;
    const known = await authenticator.authenticate({
      subject: incoming.subject,
      certificateError: incoming.certificateError,
      authorization: incoming.header("authorization"),
    });
    if (known === anonymous && !this.#options.anonymous) throw unauthorized();
    return impersonated(incoming, known, (attributes) => api.check(attributes));
  }

  #routes(): Hono<Env> {
    const { api, documents, connect } = this.#options;
    const app = new Hono<Env>({ getPath: (_, bound) => documentPath((bound!.env as Asked).path) });
    const found = (reply: Reply | undefined): Reply => {
      if (!reply) throw unknownPath();
      return reply;
    };
    for (const path of ["healthz", "livez", "readyz"]) {
      app.get(`/${path}`, async (c) => found(await health(c.env.path, c.env.query, this.#options.health)));
      app.get(`/${path}/:check`, async (c) => found(await health(c.env.path, c.env.query, this.#options.health)));
    }
    app.get("/version", () => documents.version());
    app.get("/metrics", () => this.#metricsText());
    app.get("/.well-known/openid-configuration", () => documents.openid());
    app.get("/openid/v1/jwks", () => documents.jwks());
    app.get("/openapi/v2", (c) => documents.openapiV2(c.env.incoming));
    app.get("/openapi/v3", (c) => found(documents.openapiV3("", c.env.query, c.env.incoming)));
    app.get("/openapi/v3/*", (c) => found(documents.openapiV3(c.env.path.slice("/openapi/v3/".length), c.env.query, c.env.incoming)));
    app.get("/", () => json(200, { paths: this.#paths() }));
    app.get("/api", (c) => documents.root("api", c.env.incoming));
    app.get("/apis", (c) => documents.root("apis", c.env.incoming));
    app.get("/api/:version", async (c) => found(await documents.resources("", c.req.param("version"), c.env.incoming)));
    app.get("/apis/:group", async (c) => found(await documents.group(c.req.param("group"), c.env.incoming)));
    app.get("/apis/:group/:version", async (c) =>
      found(await documents.resources(c.req.param("group"), c.req.param("version"), c.env.incoming)),
    );
    const resource = async ({ env }: { env: Routed }) => {
      const { incoming, user, query, target, path } = env;
      if (!target) throw unknownPath();
      if (connect.handles(target)) return connect.handle({ incoming, context: { user }, target, query });
      return handleResource(api, { incoming, user, target, query, oldWatch: isOldWatch(path) });
    };
    app.all("/api/*", resource);
    app.all("/apis/*", resource);
    app.onError((error, c) => failure(error, c.env.incoming));
    app.notFound((c) => failure(unknownPath(), c.env.incoming));
    return app;
  }

  #paths(): string[] {
    const versions = this.#options.documents.discovery
      .groupVersions()
      .map((gv) => (gv.group ? `/apis/${gv.group}/${gv.version}` : `/api/${gv.version}`));
    const groups = versions.filter((p) => p.startsWith("/apis/")).map((p) => p.slice(0, p.lastIndexOf("/")));
    const fixed = [
      "/.well-known/openid-configuration",
      "/api",
      "/apis",
      "/healthz",
      "/livez",
      "/metrics",
      "/openapi/v2",
      "/openapi/v3",
      "/openid/v1/jwks",
      "/readyz",
      "/version",
    ];
    return [...new Set([...fixed, ...groups, ...versions])].sort();
  }

  #metricsText(): Reply {
    const objects = new Map<string, number>();
    const { countObjects, sizes } = this.#options.metrics;
    if (countObjects)
      for (const { info, bucket, conversion } of this.#options.api.registry.resources.all())
        if (!conversion) objects.set(info.group ? `${info.plural}.${info.group}` : info.plural, bucket.size);
    return new Reply(
      200,
      { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      this.metrics.text(this.#options.inflight, objects, sizes.all()),
    );
  }
}

/** The Status of an error, as an answer. */
function failure(error: unknown, incoming: Incoming): Reply {
  let status: StatusError;
  if (error instanceof StatusError) status = error;
  else {
    // Nobody is left to hear of what a client has broken off.
    if (!incoming.rest.gone) log.error("A request failed", error, { path: incoming.target });
    status = internalError(error instanceof Error ? error.message : String(error));
  }
  const retry = status.status.details?.retryAfterSeconds;
  return new Reply(
    status.code,
    {
      "content-type": "application/json",
      "cache-control": "no-cache, private",
      ...(retry ? { "retry-after": String(retry) } : {}),
      ...(status.code === 401 ? { "www-authenticate": 'Bearer realm="kubernetes-master"' } : {}),
    },
    JSON.stringify(status.status),
  );
}

async function refuse(incoming: Incoming, socket: Duplex, head: Uint8Array, code: number, body: string): Promise<void> {
  const { refuse } = await import("../../rpc/remotecommand/mod.ts");
  refuse({ request: incoming.message, socket, head }, code, body, { "Content-Type": "application/json" });
}
