// The subresources that end at a kubelet: log, exec, attach, portforward, and
// the proxies to nodes, pods and services.
import type { Duplex } from "node:stream";
import type * as core from "../../api/gen/core/v1.ts";
import { badRequest, methodNotAllowed, notFound, StatusError, serviceUnavailable } from "../../api/status.ts";
import type { Target } from "../../client/transport.ts";
import type { Api } from "../api.ts";
import type { Incoming } from "../http/incoming.ts";
import type { ResourcePath } from "../http/path.ts";
import { pass, Reply } from "../http/reply.ts";
import type { RequestContext } from "../request.ts";
import type { KubeletClient } from "./client.ts";
import { kubeletOrigin, podLocation } from "./location.ts";
import { isGlobalUnicast, originOf, proxyTarget } from "./proxy-target.ts";

/** A body of up to so many bytes is passed on with its length, a larger one as it comes. */
const wholeBody = 1024 * 1024;

const bodyOf = async (incoming: Incoming): Promise<BodyInit> =>
  (incoming.length ?? (incoming.rest.complete ? 0 : Number.POSITIVE_INFINITY)) > wholeBody
    ? incoming.bodyStream()
    : ((await incoming.body(wholeBody)) as BodyInit);

const streams = ["exec", "attach", "portforward"] as const;
type Stream = (typeof streams)[number];
const isStream = (name: string | undefined): name is Stream => (streams as readonly (string | undefined)[]).includes(name);

const verbs: ReadonlyMap<string, string> = new Map(
  Object.entries({ GET: "get", HEAD: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }),
);

export interface ConnectRequest {
  readonly incoming: Incoming;
  readonly context: RequestContext;
  readonly target: ResourcePath;
  readonly query: URLSearchParams;
}

export class Connect {
  readonly #api: Api;
  readonly #kubelets: KubeletClient;
  readonly #mayReach: (ip: string) => boolean;

  /** @param mayReach whether a proxy may lead to an address of a pod */
  constructor(api: Api, kubelets: KubeletClient, mayReach: (ip: string) => boolean = isGlobalUnicast) {
    this.#api = api;
    this.#kubelets = kubelets;
    this.#mayReach = mayReach;
  }

  /** Whether a target is one of these. */
  handles(target: Target): boolean {
    if (target.group !== "" || !target.name || !target.subresource) return false;
    if (target.subresource === "proxy") return ["nodes", "pods", "services"].includes(target.resource);
    return target.resource === "pods" && (target.subresource === "log" || isStream(target.subresource));
  }

  async handle(request: ConnectRequest): Promise<Response> {
    const { incoming, target, query } = request;
    this.#authorize(request);
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
    this.#authorize(request);
    if (!isStream(kind)) throw badRequest("this subresource can't be upgraded");
    // A WebSocket is asked for by GET; since 1.35 upstream wants those too who may create the stream.
    this.#api.authorize(context, "create", target);
    const pod = await this.#pod(target);
    const location = podLocation(kind, pod, await this.#nodeOf(target), query);
    if (!location) throw badRequest(`pod ${target.name} does not have a host assigned`);
    await this.#kubelets.upgrade(kind, location, { request: incoming.message, socket, head });
  }

  /** A method that no verb stands for, such as one in lower case, which may be taken for another further on, is nobody's to use. */
  #authorize({ incoming, context, target }: ConnectRequest): void {
    const verb = verbs.get(incoming.method);
    if (!verb) throw methodNotAllowed({ group: target.group, resource: target.resource }, incoming.method);
    this.#api.authorize(context, verb, target);
  }

  async #isPods({ ip, targetRef }: core.EndpointAddress, namespace: string): Promise<boolean> {
    if (targetRef?.kind !== "Pod" || targetRef.namespace !== namespace || !targetRef.name || !this.#mayReach(ip)) return false;
    const pod = (await this.#find("pods", namespace, targetRef.name).catch(() => undefined)) as core.Pod | undefined;
    return pod?.status?.podIPs?.some((p) => p.ip === ip) === true;
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
      // Whatever else stood there could name another host.
      if (!/^\d{0,5}$/.test(port)) throw badRequest(`invalid pod request ${JSON.stringify(target.name)}`);
      const pod = (await this.#find("pods", target.namespace, name)) as core.Pod;
      const ip = pod.status?.podIP ?? "";
      if (!this.#mayReach(ip)) throw badRequest("address not allowed");
      return originOf(scheme, ip, port || String(pod.spec.containers.flatMap((c) => c.ports ?? [])[0]?.containerPort ?? 80));
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
      if (!to) continue;
      // Whoever writes an endpoint may name any address: one of a pod is meant.
      const pods = await Promise.all((subset.addresses ?? []).map((a) => this.#isPods(a, target.namespace!)));
      const ips = (subset.addresses ?? []).map((a) => a.ip).filter((_, i) => pods[i]);
      if (ips.length > 0) return originOf(scheme, ips[Math.floor(Math.random() * ips.length)]!, String(to.port));
    }
    throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  }
}
