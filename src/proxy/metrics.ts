// The proxy's metrics, under upstream's names.
import { exponentialBounds, MetricSet } from "../platform/metrics.ts";

export class Metrics {
  readonly #set = new MetricSet();
  readonly #duration = this.#set.histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "SyncProxyRules latency in seconds",
    exponentialBounds(0.001, 2, 15),
  );
  readonly #programming = this.#set.histogram(
    "kubeproxy_network_programming_duration_seconds",
    "In Cluster Network Programming Latency in seconds",
    [0.25, 0.5, ...Array.from({ length: 60 }, (_, i) => i + 1), 90, 120, 150, 180, 210, 240, 300],
  );
  readonly #last = this.#set.gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "The last time proxy rules were successfully synced",
  );
  readonly #queued = this.#set.gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "The last time a sync of proxy rules was queued",
  );
  readonly #serviceChanges = this.#set.counter(
    "kubeproxy_sync_proxy_rules_service_changes_total",
    "Cumulative proxy rules Service changes",
  );
  readonly #endpointChanges = this.#set.counter(
    "kubeproxy_sync_proxy_rules_endpoint_changes_total",
    "Cumulative proxy rules Endpoint changes",
  );
  readonly #failures = this.#set.counter(
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    "Cumulative proxy nftables sync failures",
  );
  readonly #drift = this.#set.counter(
    "kubun_proxy_drift_repairs_total",
    "Times the table was not what had been applied, and was made anew",
  );
  readonly #conntrack = this.#set.counter("kubeproxy_conntrack_reconciler_deleted_entries_total", "Cumulative conntrack flows deleted");

  queued(now: number): void {
    this.#queued.set(now / 1000);
  }
  /** `changed`: when the endpoints of this sync were changed, in milliseconds since the epoch. */
  synced(ms: number, now: number, changed: readonly number[]): void {
    this.#duration.observe(ms / 1000);
    this.#last.set(now / 1000);
    for (const at of changed) this.#programming.observe(Math.max(0, now - at) / 1000);
  }
  failed(): void {
    this.#failures.inc();
  }
  repaired(): void {
    this.#drift.inc();
  }
  serviceChanged(): void {
    this.#serviceChanges.inc();
  }
  endpointsChanged(): void {
    this.#endpointChanges.inc();
  }
  conntrackDeleted(n: number): void {
    this.#conntrack.inc(n);
  }
  text(): string {
    return this.#set.text();
  }
}
