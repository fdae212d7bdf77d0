// The name server's metrics, under CoreDNS' names.
import { exponentialBounds, MetricSet } from "../platform/metrics.ts";
import { rcodeName, typeName } from "./wire.ts";

const server = "dns://:53";

export class Metrics {
  readonly #set = new MetricSet();
  readonly #requests = this.#set.counter("coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.");
  readonly #responses = this.#set.counter("coredns_dns_responses_total", "Counter of response status codes.");
  readonly #duration = this.#set.histogram(
    "coredns_dns_request_duration_seconds",
    "Histogram of the time (in seconds) each request took per zone.",
    exponentialBounds(0.00025, 2, 16),
  );
  readonly #hits = this.#set.counter("coredns_cache_hits_total", "The count of cache hits.");
  readonly #misses = this.#set.counter("coredns_cache_misses_total", "The count of cache misses.");
  readonly #stale = this.#set.counter("coredns_cache_served_stale_total", "The number of requests served from stale cache entries.");
  readonly #upstream = this.#set.histogram(
    "coredns_proxy_request_duration_seconds",
    "Histogram of the time each request took.",
    exponentialBounds(0.00025, 2, 16),
  );
  readonly #broken = this.#set.counter("coredns_proxy_healthcheck_failures_total", "Counter of the number of failed healthchecks.");
  readonly #rejects = this.#set.counter(
    "coredns_forward_max_concurrent_rejects_total",
    "Counter of the number of queries rejected because the concurrent queries were at maximum.",
  );
  /** Requests and responses by what is in their labels, so that an answer costs one addition. */
  readonly #counts = new Map<string, number>();

  answered(proto: "udp" | "tcp", type: number, rcode: number): void {
    const key = `${proto} ${type} ${rcode}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }
  took(ms: number): void {
    this.#duration.observe(ms / 1000, { server, zone: "." });
  }
  hit(negative: boolean): void {
    this.#hits.inc(1, { server, type: negative ? "denial" : "success" });
  }
  missed(): void {
    this.#misses.inc(1, { server });
  }
  servedStale(): void {
    this.#stale.inc(1, { server });
  }
  forwarded(to: string, ms: number): void {
    this.#upstream.observe(ms / 1000, { proxy_name: "forward", to });
  }
  upstreamFailed(to: string): void {
    this.#broken.inc(1, { proxy_name: "forward", to });
  }
  rejected(): void {
    this.#rejects.inc();
  }

  text(): string {
    for (const [key, n] of this.#counts) {
      const [proto = "", type, rcode] = key.split(" ");
      this.#requests.inc(n, { server, zone: ".", proto, family: "1", type: typeName(Number(type)) });
      this.#responses.inc(n, { server, zone: ".", rcode: rcodeName(Number(rcode)) });
    }
    this.#counts.clear();
    return this.#set.text();
  }
}
