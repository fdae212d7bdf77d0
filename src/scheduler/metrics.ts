// The scheduler's metrics, under upstream's names.
interface Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum: number;
  count: number;
}

const exponential = (start: number, factor: number, n: number) => Array.from({ length: n }, (_, i) => start * factor ** i);
const histogram = (bounds: readonly number[]): Histogram => ({ bounds, counts: bounds.map(() => 0), sum: 0, count: 0 });

function observe(h: Histogram, value: number, times = 1): void {
  const at = h.bounds.findIndex((b) => value <= b);
  if (at >= 0) h.counts[at]! += times;
  h.sum += value * times;
  h.count += times;
}

function lines(name: string, labels: string, h: Histogram): string[] {
  const with_ = (extra: string) => `{${[labels, extra].filter(Boolean).join(",")}}`;
  const plain = labels ? `{${labels}}` : "";
  let total = 0;
  const buckets = h.bounds.map((bound, i) => {
    total += h.counts[i]!;
    return `${name}_bucket${with_(`le="${bound}"`)} ${total}`;
  });
  return [...buckets, `${name}_bucket${with_('le="+Inf"')} ${h.count}`, `${name}_sum${plain} ${h.sum}`, `${name}_count${plain} ${h.count}`];
}

type Result = "scheduled" | "unschedulable" | "error";
type Queue = "active" | "backoff" | "unschedulable" | "gated";

export class Metrics {
  readonly #attempts = new Map<Result, Histogram>();
  readonly #algorithm = histogram(exponential(0.001, 2, 15));
  readonly #podDuration = new Map<number, Histogram>();
  readonly #victims = histogram(exponential(1, 2, 7));
  #preemptions = 0;
  #pending: Record<Queue, number> = { active: 0, backoff: 0, unschedulable: 0, gated: 0 };

  /** Milliseconds from the start of the cycle to its outcome. */
  attempt(result: Result, ms: number): void {
    let h = this.#attempts.get(result);
    if (!h) {
      h = histogram(exponential(0.001, 2, 15));
      this.#attempts.set(result, h);
    }
    observe(h, ms / 1000);
  }
  algorithm(ms: number, pods: number): void {
    observe(this.#algorithm, ms / 1000, pods);
  }
  /** Milliseconds since the pod was first seen. */
  scheduled(ms: number, attempts: number): void {
    const label = Math.min(attempts, 16);
    let h = this.#podDuration.get(label);
    if (!h) {
      h = histogram(exponential(0.01, 2, 20));
      this.#podDuration.set(label, h);
    }
    observe(h, ms / 1000);
  }
  preempted(victims: number): void {
    this.#preemptions++;
    observe(this.#victims, victims);
  }
  pending(counts: Record<Queue, number>): void {
    this.#pending = counts;
  }

  /** Prometheus text format. */
  text(): string {
    const profile = 'profile="default-scheduler"';
    const out = ["# TYPE scheduler_schedule_attempts_total counter"];
    for (const [result, h] of this.#attempts) out.push(`scheduler_schedule_attempts_total{${profile},result="${result}"} ${h.count}`);
    out.push("# TYPE scheduler_scheduling_attempt_duration_seconds histogram");
    for (const [result, h] of this.#attempts)
      out.push(...lines("scheduler_scheduling_attempt_duration_seconds", `${profile},result="${result}"`, h));
    out.push("# TYPE scheduler_scheduling_algorithm_duration_seconds histogram");
    out.push(...lines("scheduler_scheduling_algorithm_duration_seconds", "", this.#algorithm));
    out.push("# TYPE scheduler_pod_scheduling_sli_duration_seconds histogram");
    for (const [n, h] of this.#podDuration) out.push(...lines("scheduler_pod_scheduling_sli_duration_seconds", `attempts="${n}"`, h));
    out.push("# TYPE scheduler_preemption_attempts_total counter", `scheduler_preemption_attempts_total ${this.#preemptions}`);
    out.push("# TYPE scheduler_preemption_victims histogram", ...lines("scheduler_preemption_victims", "", this.#victims));
    out.push("# TYPE scheduler_pending_pods gauge");
    for (const [queue, n] of Object.entries(this.#pending)) out.push(`scheduler_pending_pods{queue="${queue}"} ${n}`);
    return `${out.join("\n")}\n`;
  }
}
