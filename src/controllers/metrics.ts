// The workqueue_* metrics of kube-controller-manager, in Prometheus' text format.
import type { QueueMetrics } from "../client/workqueue.ts";

/** Seconds; upstream's buckets of both histograms. */
const buckets = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10];

interface Histogram {
  counts: number[];
  sum: number;
  count: number;
}

interface Queue {
  adds: number;
  depth: number;
  retries: number;
  wait: Histogram;
  work: Histogram;
}

const histogram = (): Histogram => ({ counts: buckets.map(() => 0), sum: 0, count: 0 });

function observe(h: Histogram, seconds: number): void {
  h.sum += seconds;
  h.count++;
  for (let i = buckets.length - 1; i >= 0 && seconds <= buckets[i]!; i--) h.counts[i]!++;
}

export class QueueMeter implements QueueMetrics {
  readonly #queues = new Map<string, Queue>();

  #of(name: string): Queue {
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = { adds: 0, depth: 0, retries: 0, wait: histogram(), work: histogram() };
      this.#queues.set(name, queue);
    }
    return queue;
  }

  add(queue: string): void {
    this.#of(queue).adds++;
  }
  depth(queue: string, n: number): void {
    this.#of(queue).depth = n;
  }
  latency(queue: string, ms: number): void {
    observe(this.#of(queue).wait, ms / 1000);
  }
  duration(queue: string, ms: number): void {
    observe(this.#of(queue).work, ms / 1000);
  }
  retry(queue: string): void {
    this.#of(queue).retries++;
  }

  text(): string {
    const lines: string[] = [];
    const head = (name: string, type: string, help: string) => lines.push(`# HELP ${name} [ALPHA] ${help}`, `# TYPE ${name} ${type}`);
    const each = (row: (name: string, q: Queue) => void) => {
      for (const [name, q] of this.#queues) row(name, q);
    };
    head("workqueue_adds_total", "counter", "Total number of adds handled by workqueue");
    each((n, q) => lines.push(`workqueue_adds_total{name="${n}"} ${q.adds}`));
    head("workqueue_depth", "gauge", "Current depth of workqueue");
    each((n, q) => lines.push(`workqueue_depth{name="${n}"} ${q.depth}`));
    head("workqueue_retries_total", "counter", "Total number of retries handled by workqueue");
    each((n, q) => lines.push(`workqueue_retries_total{name="${n}"} ${q.retries}`));
    const histograms = [
      ["workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested.", "wait"],
      ["workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes.", "work"],
    ] as const;
    for (const [name, help, field] of histograms) {
      head(name, "histogram", help);
      each((n, q) => {
        const h = q[field];
        buckets.forEach((le, i) => lines.push(`${name}_bucket{name="${n}",le="${le}"} ${h.counts[i]}`));
        lines.push(
          `${name}_bucket{name="${n}",le="+Inf"} ${h.count}`,
          `${name}_sum{name="${n}"} ${h.sum}`,
          `${name}_count{name="${n}"} ${h.count}`,
        );
      });
    }
    return `${lines.join("\n")}\n`;
  }
}
