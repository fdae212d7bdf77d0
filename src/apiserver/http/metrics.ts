// What /metrics tells, under upstream's names.
import { exponentialBounds, labelText, MetricSet } from "../../platform/metrics.ts";

const sizes = exponentialBounds(1000, 10, 7);
const durations = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];

export interface RequestLabels {
  verb: string;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  scope: string;
}

/** The metrics of one apiserver. */
export class ApiMetrics {
  readonly #set = new MetricSet();
  readonly #requests = this.#set.counter(
    "apiserver_request_total",
    "Requests by verb, dry run, group, version, resource, scope, component and code.",
  );
  readonly #duration = this.#set.histogram(
    "apiserver_request_duration_seconds",
    "How long requests took, until their answers were with the client.",
    durations,
  );
  readonly #sizes = this.#set.histogram("apiserver_response_sizes", "Bytes of the answers to reads.", sizes);
  readonly #handshakes = this.#set.counter("apiserver_tls_handshake_errors_total", "TLS handshakes that failed.");
  readonly #inflight = this.#set.gauge("apiserver_current_inflight_requests", "Requests being worked on, by kind.");
  readonly #watches = this.#set.gauge("apiserver_longrunning_requests", "Watches, logs, proxies and streams that are open.");
  readonly #objects = this.#set.gauge("apiserver_storage_objects", "Objects in the store at the time of the question, by resource.");
  readonly #size = this.#set.gauge("apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.");
  readonly #memory = this.#set.gauge("process_resident_memory_bytes", "Resident memory of the process.");
  readonly #cpu = this.#set.gauge("process_cpu_seconds_total", "User and system time of the process.");
  readonly #started = this.#set.gauge("process_start_time_seconds", "When the process started, since the epoch.");

  /** Counts a request that is over. */
  observe(labels: RequestLabels, code: number, seconds: number, bytes: number): void {
    const all = labelText({ ...labels, component: "apiserver" });
    this.#requests.inc(1, `${all},code="${code}"`);
    this.#duration.observe(seconds, all);
    if (labels.verb === "GET" || labels.verb === "LIST") this.#sizes.observe(bytes, all);
  }

  handshakeFailed(): void {
    this.#handshakes.inc();
  }

  /** Counts a request among those that are open; returns what ends it. */
  enter(labels: RequestLabels): () => void {
    const all = { ...labels, component: "apiserver" };
    this.#watches.inc(1, all);
    return () => this.#watches.inc(-1, all);
  }

  text(
    inflight: { readOnly: number; mutating: number },
    objects: Iterable<[resource: string, count: number]>,
    sizes: Iterable<[store: string, bytes: number]>,
  ): string {
    this.#inflight.set(inflight.readOnly, { request_kind: "readOnly" });
    this.#inflight.set(inflight.mutating, { request_kind: "mutating" });
    for (const [resource, count] of objects) this.#objects.set(count, { resource });
    for (const [id, bytes] of sizes) this.#size.set(bytes, { storage_cluster_id: id });
    const { user, system } = process.cpuUsage();
    this.#memory.set(process.memoryUsage.rss());
    this.#cpu.set((user + system) / 1e6);
    this.#started.set(Math.round((performance.timeOrigin ?? 0) / 1000));
    return this.#set.text();
  }
}
