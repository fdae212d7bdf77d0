// ApiTransport over the REST API: JSON over HTTP/2 where the server speaks it
// (requests and watches share one connection), else HTTP/1.1 with keep-alive.
import { readFile } from "node:fs/promises";
import { deepFreeze } from "../api/equal.ts";
import { apiVersion, type KubeList, type KubeObject } from "../api/object.ts";
import { type Status, StatusError } from "../api/status.ts";
import { realClock, wait } from "./clock.ts";
import { pathOf, queryOf } from "./path.ts";
import type { ApiTransport, DeleteOptions, ListOptions, PatchType, Target, WatchEvent, WatchOptions, WriteOptions } from "./transport.ts";
import { JsonLines } from "./watch-lines.ts";

/** How to reach and convince one apiserver. PEM texts, not paths. */
export interface RestConfig {
  /** "https://127.0.0.1:6443", with a path prefix if the server has one. */
  server: string;
  ca?: string;
  cert?: string;
  key?: string;
  token?: string;
  /** Read again every minute, as projected tokens are replaced. Wins over `token`. */
  tokenFile?: string;
  username?: string;
  password?: string;
  insecureSkipTlsVerify?: boolean;
  /** Name to expect in the server's certificate instead of the host's. */
  tlsServerName?: string;
  impersonate?: { user: string; groups?: string[]; uid?: string };
  /** The context's namespace, for tools; the transport ignores it. */
  namespace?: string;
}

export interface HttpTransportOptions {
  /** Sent as the User-Agent; what stands before the slash becomes the field manager. */
  userAgent?: string;
  /** Milliseconds that a request other than a watch may take. */
  timeout?: number;
  /** Never ask for HTTP/2. */
  http1?: boolean;
}

const patchTypes: Record<PatchType, string> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

const maxRetries = 10;
const tokenLifetime = 60_000;
/** Past the server's own end of a watch, the connection counts as lost. */
const watchGrace = 30_000;

type FetchOptions = RequestInit & {
  tls?: Record<string, unknown>;
  protocol?: "http2" | "http1.1";
  timeout?: boolean;
};

export class HttpTransport implements ApiTransport {
  readonly #config: RestConfig;
  readonly #base: string;
  readonly #tls: Record<string, unknown> | undefined;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #impersonation: [string, string][];
  #protocol: "http2" | undefined;
  #token: { value: string; until: number } | undefined;
  #closed = new AbortController();

  constructor(config: RestConfig, options: HttpTransportOptions = {}) {
    this.#config = config;
    this.#base = config.server.replace(/\/+$/, "");
    this.#timeout = options.timeout ?? 60_000;
    this.#headers = {
      accept: "application/json",
      "user-agent": options.userAgent ?? "kubun/v1.35.0",
    };
    if (config.username !== undefined)
      this.#headers.authorization = `Basic ${Buffer.from(`${config.username}:${config.password ?? ""}`).toString("base64")}`;
    this.#impersonation = config.impersonate
      ? [
          ["impersonate-user", config.impersonate.user],
          ...(config.impersonate.uid ? [["impersonate-uid", config.impersonate.uid] as [string, string]] : []),
          ...(config.impersonate.groups ?? []).map((g): [string, string] => ["impersonate-group", g]),
        ]
      : [];
    if (this.#base.startsWith("https:")) {
      if (!options.http1) this.#protocol = "http2";
      this.#tls = {
        ...(config.ca ? { ca: config.ca } : {}),
        ...(config.cert ? { cert: config.cert } : {}),
        ...(config.key ? { key: config.key } : {}),
        ...(config.tlsServerName ? { serverName: config.tlsServerName } : {}),
        rejectUnauthorized: !config.insecureSkipTlsVerify,
      };
    }
  }

  get<T = KubeObject>(target: Target & { name: string }, options?: { resourceVersion?: string }): Promise<T> {
    return this.#json<T>("GET", pathOf(target) + queryOf({ ...options }));
  }

  async list<T = KubeObject>(target: Target, options?: ListOptions): Promise<KubeList<T>> {
    const list = await this.#json<KubeList<T>>("GET", pathOf(target) + queryOf({ ...options }), undefined, undefined, false);
    // Items of a list travel without the kind that the list already tells.
    const kind = list.kind?.endsWith("List") ? list.kind.slice(0, -4) : undefined;
    list.items ??= [];
    if (kind !== undefined) {
      const version = list.apiVersion ?? apiVersion(target);
      for (const item of list.items as { apiVersion?: string; kind?: string }[]) {
        item.kind ??= kind;
        item.apiVersion ??= version;
      }
    }
    return deepFreeze(list);
  }

  create<T = KubeObject>(target: Target, object: object, options?: WriteOptions): Promise<T> {
    return this.#json<T>("POST", pathOf(target) + writeQuery(options), JSON.stringify(object), "application/json");
  }

  update<T = KubeObject>(target: Target & { name: string }, object: object, options?: WriteOptions): Promise<T> {
    return this.#json<T>("PUT", pathOf(target) + writeQuery(options), JSON.stringify(object), "application/json");
  }

  patch<T = KubeObject>(target: Target & { name: string }, type: PatchType, patch: unknown, options?: WriteOptions): Promise<T> {
    return this.#json<T>("PATCH", pathOf(target) + writeQuery(options), JSON.stringify(patch), patchTypes[type]);
  }

  delete<T = KubeObject>(target: Target & { name: string }, options?: DeleteOptions): Promise<T> {
    return this.#json<T>("DELETE", pathOf(target), deleteBody(options), "application/json");
  }

  async deleteCollection(target: Target, options: DeleteOptions & ListOptions = {}): Promise<void> {
    const { gracePeriodSeconds, propagationPolicy, preconditions, ...selection } = options;
    const body = deleteBody({ gracePeriodSeconds, propagationPolicy, preconditions });
    await this.#json("DELETE", pathOf(target) + queryOf({ ...selection }), body, "application/json");
  }

  async *watch<T = KubeObject>(target: Target, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>> {
    const limit = options.timeoutSeconds ? [AbortSignal.timeout(options.timeoutSeconds * 1000 + watchGrace)] : [];
    const stop = AbortSignal.any([signal, this.#closed.signal, ...limit]);
    let response: Response;
    try {
      const { opened, ...query } = options;
      response = await this.#send("GET", `${pathOf(target)}${queryOf({ watch: "true", ...query })}`, undefined, undefined, stop, false);
      opened?.();
    } catch (error) {
      if (stop.aborted) return;
      throw error;
    }
    if (!response.body) return;
    const lines = new JsonLines();
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        for (const event of lines.push(value)) {
          if (stop.aborted) return;
          const { type, object } = event as { type: string; object: unknown };
          if (type === "ERROR") throw new StatusError(object as Status);
          yield deepFreeze({ type, object }) as WatchEvent<T>;
        }
      }
    } catch (error) {
      if (!stop.aborted) throw error;
    } finally {
      await reader.cancel().catch(() => undefined); // An aborted body has nothing left to cancel.
    }
  }

  async raw(path: string): Promise<unknown> {
    const response = await this.#send("GET", path, undefined, undefined, AbortSignal.timeout(this.#timeout), true);
    const text = await response.text();
    return response.headers.get("content-type")?.includes("json") ? deepFreeze(JSON.parse(text)) : text;
  }

  /** Ends what is under way; the transport is of no use afterwards. */
  close(): void {
    this.#closed.abort();
  }

  async #json<T>(method: string, path: string, body?: string, contentType?: string, freeze = true): Promise<T> {
    const signal = AbortSignal.any([AbortSignal.timeout(this.#timeout), this.#closed.signal]);
    const response = await this.#send(method, path, body, contentType, signal, true);
    const value = (await response.json()) as T;
    return freeze ? deepFreeze(value) : value;
  }

  /** Sends, and again while the server says so or a read met a closed connection. Throws StatusError on any refusal. */
  async #send(
    method: string,
    path: string,
    body: string | undefined,
    contentType: string | undefined,
    signal: AbortSignal,
    timeout: boolean,
  ): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      const headers = new Headers(this.#headers);
      const token = await this.#bearer();
      if (token) headers.set("authorization", `Bearer ${token}`);
      if (body !== undefined && contentType) headers.set("content-type", contentType);
      for (const [k, v] of this.#impersonation) headers.append(k, v);
      const options: FetchOptions = { method, headers, signal, timeout };
      if (body !== undefined) options.body = body;
      if (this.#tls) options.tls = this.#tls;
      if (this.#protocol) options.protocol = this.#protocol;
      let response: Response;
      try {
        response = await fetch(this.#base + path, options as RequestInit);
      } catch (error) {
        const code = (error as { code?: string }).code;
        if (code === "HTTP2Unsupported" && this.#protocol) {
          this.#protocol = undefined;
          continue;
        }
        if (method === "GET" && !signal.aborted && attempt === 0 && closedConnection.has(code ?? "")) continue;
        throw error;
      }
      if (response.ok) return response;
      const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
      if (attempt < maxRetries && retryAfter >= 0 && (response.status === 429 || response.status >= 500)) {
        await response.arrayBuffer();
        await wait(realClock, retryAfter * 1000, signal);
        if (!signal.aborted) continue;
      }
      if (response.status === 401) this.#token = undefined;
      throw await refusal(response);
    }
  }

  async #bearer(): Promise<string | undefined> {
    const { tokenFile, token } = this.#config;
    if (!tokenFile) return token;
    const now = Date.now();
    if (!this.#token || now >= this.#token.until) {
      try {
        this.#token = { value: (await readFile(tokenFile, "utf8")).trim(), until: now + tokenLifetime };
      } catch (error) {
        // While a file is being replaced the token before still holds.
        if (!this.#token) throw new Error(`cannot read the bearer token file ${tokenFile}`, { cause: error });
      }
    }
    return this.#token.value;
  }
}

/** What Bun calls a kept connection that the server has closed in the meantime. */
const closedConnection = new Set(["ECONNRESET", "ConnectionClosed", "HTTP2GoAway", "HTTP2RefusedStream"]);

function writeQuery(options?: WriteOptions): string {
  if (!options) return "";
  return queryOf({ fieldManager: options.fieldManager, force: options.force, dryRun: options.dryRun ? "All" : undefined });
}

function deleteBody(options?: DeleteOptions): string {
  return JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", ...options });
}

/** The server's Status, or one made up from what a proxy in between said. */
async function refusal(response: Response): Promise<StatusError> {
  const text = await response.text();
  try {
    const status = JSON.parse(text) as Status;
    if (status?.kind === "Status") return new StatusError({ ...status, code: status.code ?? response.status });
  } catch {
    // Not a Status: the text itself is the message.
  }
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: text.trim().slice(0, 2048) || response.statusText || `the server answered ${response.status}`,
    reason: reasons[response.status] ?? "Unknown",
    code: response.status,
  } as Status);
}

const reasons: Record<number, string> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  405: "MethodNotAllowed",
  406: "NotAcceptable",
  409: "Conflict",
  410: "Expired",
  415: "UnsupportedMediaType",
  422: "Invalid",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};
