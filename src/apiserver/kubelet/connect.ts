// The subresources that end at a kubelet: log, exec, attach, portforward, and
// the proxies to nodes, pods and services.
import type { Duplex } from "node:stream";
import type * as core from "../../api/gen/core/v1.ts";
import { badRequest, notFound, StatusError, serviceUnavailable } from "../../api/status.ts";
import type { Target } from "../../client/transport.ts";
import type { Api } from "../api.ts";
import type { Incoming } from "../http/incoming.ts";
import type { ResourcePath } from "../http/path.ts";
import { pass, Reply } from "../http/reply.ts";
import type { RequestContext } from "../request.ts";
import type { KubeletClient } from "./client.ts";
import { kubeletOrigin, podLocation } from "./location.ts";
import { proxyTarget } from "./proxy-target.ts";

/** A body of up to so many bytes is passed on with its length, a larger one as it comes. */
const wholeBody = 1024 * 1024;

const bodyOf = async (incoming: Incoming): Promise<BodyInit> =>
  (incoming.length ?? (incoming.rest.complete ? 0 : Number.POSITIVE_INFINITY)) > wholeBody
    ? incoming.bodyStream()
    : ((await incoming.body(wholeBody)) as BodyInit);

const streams = ["exec", "attach", "portforward"] as const;
type Stream = (typeof streams)[number];
const isStream = (name: string | undefined): name is Stream => (streams as readonly (string | undefined)[]).includes(name);

const verbs: Record<string, string> = { GET: "get", HEAD: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

export interface ConnectRequest {
  readonly incoming: Incoming;
  readonly context: RequestContext;
  readonly target: ResourcePath;
  readonly query: URLSearchParams;
}

export class Connect {
  readonly #api: Api;
  readonly #kubelets: KubeletClient;

  constructor(api: Api, kubelets: KubeletClient) {
    this.#api = api;
    this.#kubelets = kubelets;
  }

  /** Whether a target is one of these. */
  handles(target: Target): boolean {
    if (target.group !== "" || !target.name || !target.subresource) return false;
    if (target.subresource === "proxy") return ["nodes", "pods", "services"].includes(target.resource);
    return target.resource === "pods" && (target.subresource === "log" || isStream(target.subresource));
  }

  async handle(request: ConnectRequest): Promise<Response> {
    const { incoming, context, target, query } = request;
    this.#api.authorize(context, verbs[incoming.method] ?? "get", target);
    if (target.subresource === "proxy") return this.#proxy(request);
    if (isStream(target.subresource)) throw badRequest("Upgrade request required");
    const location = podLocation("log", await this.#pod(target), await this.#nodeOf(target), query);
    const headers = { "content-type": "text/plain", "cache-control": "no-cache, private" };
    if (!location) return new Reply(200, headers, "");
    const response = await this.#kubelets.get(location, incoming.signal);
    const { body } = response;
    if (!body) return new Reply(200, headers, "");
    return new Reply(200, headers, (sink) => pass(body, sink));
  }

  /** Joins an upgraded connection to the kubelet's; throws where it never comes to that. */
  async upgrade(request: ConnectRequest, socket: Duplex, head: Uint8Array): Promise<void> {
    const { incoming, context, target, query } = request;
    const kind = target.subresource;
    // Upstream lets those who may GET a stream by WebSocket, and who may create it by SPDY.
    this.#api.authorize(context, verbs[incoming.method] ?? "get", target);
    if (!isStream(kind)) throw badRequest("this subresource can't be upgraded");
    const pod = await this.#pod(target);
    const location = podLocation(kind, pod, await this.#nodeOf(target), query);
    if (!location) throw badRequest(`pod ${target.name} does not have a host assigned`);
    await this.#kubelets.upgrade(kind, location, { request: incoming.message, socket, head });
  }

  async #pod(target: Target): Promise<core.Pod> {
    return (await this.#find("pods", target.namespace, target.name!)) as core.Pod;
  }

  async #nodeOf(target: Target): Promise<core.Node | undefined> {
    const { nodeName } = (await this.#pod(target)).spec;
    return nodeName ? ((await this.#find("nodes", undefined, nodeName)) as core.Node) : undefined;
  }

  async #find(plural: string, namespace: string | undefined, name: string) {
    const { storage, bucket } = this.#api.registry.resources.need("", "v1", plural);
    const found = await storage.get(bucket, namespace ? `${namespace}/${name}` : name);
    if (!found) throw notFound({ resource: plural }, name);
    return found.object;
  }

  async #proxy({ incoming, target }: ConnectRequest): Promise<Response> {
    const at = incoming.target.indexOf("?");
    const path = `${target.rest ?? "/"}${at < 0 ? "" : incoming.target.slice(at)}`;
    const request = new Request(incoming.url, {
      method: incoming.method,
      headers: incoming.headers,
      body: ["GET", "HEAD"].includes(incoming.method) ? null : await bodyOf(incoming),
      signal: incoming.signal,
    });
    if (target.resource === "nodes") {
      const node = (await this.#find("nodes", undefined, target.name!)) as core.Node;
      return this.#kubelets.proxy({ origin: kubeletOrigin(node), path }, request);
    }
    const origin = await this.#originOf(target);
    request.headers.delete("host");
    request.headers.delete("authorization");
    try {
      return await fetch(origin + path, {
        method: request.method,
        headers: request.headers,
        body: request.body,
        signal: incoming.signal,
        redirect: "manual",
        tls: { rejectUnauthorized: false },
      });
    } catch (error) {
      if (error instanceof StatusError) throw error;
      throw serviceUnavailable(`error trying to reach service: ${(error as Error).message}`);
    }
  }

  /** "http://10.0.0.5:8080" of a pod, or of one that is ready behind a service. */
  async #originOf(target: Target): Promise<string> {
    const { scheme, name, port } = proxyTarget(target.name!);
    if (target.resource === "pods") {
      const pod = (await this.#find("pods", target.namespace, name)) as core.Pod;
      const found = port || String(pod.spec.containers.flatMap((c) => c.ports ?? [])[0]?.containerPort ?? 80);
      if (!pod.status?.podIP) throw badRequest(`address not allowed`);
      return `${scheme}://${pod.status.podIP}:${found}`;
    }
    const service = (await this.#find("services", target.namespace, name)) as core.Service;
    const ports = service.spec.ports ?? [];
    const wanted = port
      ? ports.find((p) => p.name === port || String(p.port) === port)
      : ports.length === 1
        ? ports[0]
        : ports.find((p) => !p.name);
    if (!wanted) throw serviceUnavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`);
    const endpoints = (await this.#find("endpoints", target.namespace, name)) as core.Endpoints;
    for (const subset of endpoints.subsets ?? []) {
      const to = subset.ports?.find((p) => (p.name ?? "") === (wanted.name ?? ""));
      const addresses = subset.addresses ?? [];
      if (to && addresses.length) return `${scheme}://${addresses[Math.floor(Math.random() * addresses.length)]!.ip}:${to.port}`;
    }
    throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  }
}
