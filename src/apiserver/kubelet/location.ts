// Where on which kubelet a pod's subresource is, as upstream's pod strategy
// works it out. A pure function of the objects and the query.
import type * as core from "../../api/gen/core/v1.ts";
import { badRequest } from "../../api/status.ts";

export type PodStream = "log" | "exec" | "attach" | "portforward";

export interface KubeletLocation {
  /** "https://10.0.0.1:10250" */
  origin: string;
  /** Path and query. */
  path: string;
}

const ADDRESS_ORDER = ["InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS"];

/** Where a node's kubelet listens. Throws a 400 when the node has no address yet. */
export function kubeletOrigin(node: core.Node): string {
  const addresses = node.status?.addresses ?? [];
  const address = ADDRESS_ORDER.map((type) => addresses.find((a) => a.type === type)?.address).find(Boolean);
  if (!address) throw badRequest(`no preferred addresses found; known addresses: [${addresses.map((a) => a.address).join(" ")}]`);
  const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port || 10250;
  return `https://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

const names = (list: readonly { name: string }[] | undefined) => (list ?? []).map((c) => c.name);

/** The container that a request means. Throws a 400 in upstream's words when that is not clear. */
export function containerOf(pod: core.Pod, asked: string | null): string {
  const all = {
    containers: names(pod.spec.containers),
    init: names(pod.spec.initContainers),
    ephemeral: names(pod.spec.ephemeralContainers),
  };
  if (asked) {
    if (![...all.containers, ...all.init, ...all.ephemeral].includes(asked))
      throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
    return asked;
  }
  if (all.containers.length === 1) return all.containers[0]!;
  let message = `a container name must be specified for pod ${pod.metadata.name}, choose one of: [${all.containers.join(" ")}]`;
  if (all.init.length > 0) message += ` or one of the init containers: [${all.init.join(" ")}]`;
  if (all.ephemeral.length > 0) message += ` or one of the ephemeral containers: [${all.ephemeral.join(" ")}]`;
  throw badRequest(message);
}

const LOG_OPTIONS = ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes"];
const NUMBERS: Record<string, number> = { sinceSeconds: 1, tailLines: 0, limitBytes: 1 };
/** The API's names of streams, and the kubelet's. */
const STREAMS: Record<string, string> = { stdin: "input", stdout: "output", stderr: "error", tty: "tty" };
const on = (value: string | null) => value !== null && value !== "false" && value !== "0";

function logQuery(query: URLSearchParams): URLSearchParams {
  const out = new URLSearchParams();
  for (const key of LOG_OPTIONS) {
    const value = query.get(key);
    if (value === null || value === "") continue;
    if (key in NUMBERS && !(Number.isInteger(Number(value)) && Number(value) >= NUMBERS[key]!)) {
      throw badRequest(`PodLogOptions "" is invalid: ${key}: Invalid value: ${value}: must be greater than or equal to ${NUMBERS[key]}`);
    }
    out.set(key, value);
  }
  if (out.has("sinceSeconds") && out.has("sinceTime")) throw badRequest("at most one of `sinceTime` or `sinceSeconds` may be specified");
  return out;
}

function streamQuery(query: URLSearchParams, kind: PodStream): URLSearchParams {
  const out = new URLSearchParams();
  for (const [api, kubelet] of Object.entries(STREAMS)) if (on(query.get(api))) out.set(kubelet, "1");
  if (![...out.keys()].some((k) => k !== "tty")) throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  if (kind === "exec") {
    const command = query.getAll("command");
    if (command.length === 0) throw badRequest("command is required");
    for (const word of command) out.append("command", word);
  }
  return out;
}

/**
 * Undefined for the log of a pod that has no node yet, which is empty; throws a
 * 400 for the other streams of such a pod, and for options that make no sense.
 */
export function podLocation(
  kind: PodStream,
  pod: core.Pod,
  node: core.Node | undefined,
  query: URLSearchParams,
): KubeletLocation | undefined {
  const container = kind === "portforward" ? "" : `/${containerOf(pod, query.get("container"))}`;
  const options =
    kind === "log"
      ? logQuery(query)
      : kind === "portforward"
        ? new URLSearchParams(query.getAll("ports").map((p) => ["port", p]))
        : streamQuery(query, kind);
  if (!node) {
    if (kind === "log") return undefined;
    throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
  }
  const root = { log: "containerLogs", exec: "exec", attach: "attach", portforward: "portForward" }[kind];
  const text = options.toString();
  return {
    origin: kubeletOrigin(node),
    path: `/${root}/${pod.metadata.namespace}/${pod.metadata.name}${container}${text ? `?${text}` : ""}`,
  };
}
