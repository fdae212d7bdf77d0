// GET /metrics and /metrics/resource, in the names that upstream gives.
import type { PodContext } from "../pod/context.ts";
import type { PodManager } from "../pods.ts";
import { containerUsages, nodeUsage, podUsage } from "./stats.ts";

type Labels = Record<string, string>;
type Sample = [labels: Labels, value: number];

const quoted = (text: string) => text.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));

function family(name: string, help: string, type: "gauge" | "counter", samples: Sample[]): string {
  const lines = samples.map(([labels, value]) => {
    const inside = Object.entries(labels)
      .map(([k, v]) => `${k}="${quoted(v)}"`)
      .join();
    return `${name}${inside ? `{${inside}}` : ""} ${value}`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("\n")}${lines.length ? "\n" : ""}`;
}

const started = Date.now() / 1000 - process.uptime();

export function metricsText(context: PodContext, pods: PodManager, nodeName: string): string {
  const states = new Map<string, number>();
  let running = 0;
  for (const rt of context.pleg.all.values()) {
    if (rt.sandboxes.some((s) => s.ready)) running++;
    for (const c of rt.containers) states.set(c.state, (states.get(c.state) ?? 0) + 1);
  }
  const { user, system } = process.cpuUsage();
  return [
    family("kubelet_node_name", "The node's name. The count is always 1.", "gauge", [[{ node: nodeName }, 1]]),
    family("kubelet_running_pods", "Number of pods that have a running pod sandbox", "gauge", [[{}, running]]),
    family(
      "kubelet_running_containers",
      "Number of containers currently running",
      "gauge",
      [...states].map(([state, n]) => [{ container_state: state }, n]),
    ),
    family("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run.", "gauge", [
      [{ static: "" }, pods.pods.length],
    ]),
    family("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.", "gauge", [
      [{}, context.pleg.lastList / 1000],
    ]),
    family("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter", [[{}, (user + system) / 1e6]]),
    family("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", [[{}, process.memoryUsage.rss()]]),
    family("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge", [[{}, started]]),
  ].join("");
}

export async function resourceMetrics(context: PodContext, pods: PodManager): Promise<string> {
  const containers = await containerUsages(context);
  const node = nodeUsage();
  const of = (c: (typeof containers)[number]): Labels => ({ container: c.container, namespace: c.namespace, pod: c.pod });
  const byPod = pods.pods.flatMap((pod) => {
    const usage = podUsage(context, pod);
    return usage ? [[{ namespace: pod.metadata.namespace ?? "", pod: pod.metadata.name ?? "" }, usage] as const] : [];
  });
  return [
    family(
      "container_cpu_usage_seconds_total",
      "Cumulative cpu time consumed by the container in core-seconds",
      "counter",
      containers.map((c) => [of(c), c.cpu]),
    ),
    family(
      "container_memory_working_set_bytes",
      "Current working set of the container in bytes",
      "gauge",
      containers.map((c) => [of(c), c.workingSet]),
    ),
    family(
      "container_start_time_seconds",
      "Start time of the container since unix epoch in seconds",
      "gauge",
      containers.map((c) => [of(c), c.startedAt / 1000]),
    ),
    family("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", "counter", [[{}, node.cpu]]),
    family("node_memory_working_set_bytes", "Current working set of the node in bytes", "gauge", [[{}, node.workingSet]]),
    family(
      "pod_cpu_usage_seconds_total",
      "Cumulative cpu time consumed by the pod in core-seconds",
      "counter",
      byPod.map(([labels, u]) => [labels, u.cpu]),
    ),
    family(
      "pod_memory_working_set_bytes",
      "Current working set of the pod in bytes",
      "gauge",
      byPod.map(([labels, u]) => [labels, u.workingSet]),
    ),
    family("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", "gauge", [[{}, 0]]),
  ].join("");
}
