// The scheduler's metrics, under upstream's names.
import { exponentialBounds, MetricSet } from "../platform/metrics.ts";

type Result = "scheduled" | "unschedulable" | "error";

export class Metrics {
  readonly #set = new MetricSet();
  readonly #attempts = this.#set.counter("scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result.");
  readonly #attemptDuration = this.#set.histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
    exponentialBounds(0.001, 2, 15),
  );
  readonly #algorithm = this.#set.histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Scheduling algorithm latency in seconds",
    exponentialBounds(0.001, 2, 15),
  );
  readonly #podDuration = this.#set.histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
    exponentialBounds(0.01, 2, 20),
  );
  readonly #preemptions = this.#set.counter("scheduler_preemption_attempts_total", "Total preemption attempts in the cluster till now");
  readonly #victims = this.#set.histogram(
    "scheduler_preemption_victims",
    "Number of selected preemption victims",
    exponentialBounds(1, 2, 7),
  );
  readonly #pending = this.#set.gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.");

  /** Milliseconds from the start of the cycle to its outcome. */
  attempt(result: Result, ms: number): void {
    const labels = { profile: "default-scheduler", result };
    this.#attempts.inc(1, labels);
    this.#attemptDuration.observe(ms / 1000, labels);
  }
  /** Milliseconds for each of so many pods. */
  algorithm(ms: number, pods: number): void {
    this.#algorithm.observe(ms / 1000, {}, pods);
  }
  /** Milliseconds since the pod was first seen. */
  scheduled(ms: number, attempts: number): void {
    this.#podDuration.observe(ms / 1000, { attempts: String(Math.min(attempts, 16)) });
  }
  preempted(victims: number): void {
    this.#preemptions.inc();
    this.#victims.observe(victims);
  }
  pending(counts: Record<"active" | "backoff" | "unschedulable" | "gated", number>): void {
    for (const [queue, n] of Object.entries(counts)) this.#pending.set(n, { queue });
  }
  text(): string {
    return this.#set.text();
  }
}
