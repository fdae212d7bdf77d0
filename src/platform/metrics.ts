// Metrics in Prometheus' text format (version 0.0.4).

type Labels = Record<string, string>;

const special = /[\\"\n]/;
const escaped = (value: string) => value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
/** Labels as they stand in the output, for those who use the same ones for several metrics. Every request makes one: no arrays in between. */
export function labelText(labels: Labels): string {
  let text = "";
  for (const name in labels) {
    const value = labels[name]!;
    text += `${text === "" ? "" : ","}${name}="${special.test(value) ? escaped(value) : value}"`;
  }
  return text;
}
const keyOf = (labels: Labels | string) => (typeof labels === "string" ? labels : labelText(labels));
const braced = (labels: string) => (labels === "" ? "" : `{${labels}}`);

interface Metric {
  lines(): string[];
}

/** A value by labels. A counter only grows. */
export class Value implements Metric {
  readonly #name: string;
  readonly #values = new Map<string, number>();
  constructor(name: string) {
    this.#name = name;
  }
  /** @param labels or their text */
  inc(by = 1, labels: Labels | string = {}): void {
    const key = keyOf(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }
  set(value: number, labels: Labels = {}): void {
    this.#values.set(labelText(labels), value);
  }
  get(labels: Labels = {}): number {
    return this.#values.get(labelText(labels)) ?? 0;
  }
  lines(): string[] {
    return [...this.#values].map(([labels, value]) => `${this.#name}${braced(labels)} ${value}`);
  }
}

interface Series {
  counts: number[];
  sum: number;
  count: number;
}

export class Histogram implements Metric {
  readonly #name: string;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Series>();
  constructor(name: string, bounds: readonly number[]) {
    this.#name = name;
    this.#bounds = bounds;
  }
  /**
   * Counts the value `times` times.
   * @param labels or their text
   */
  observe(value: number, labels: Labels | string = {}, times = 1): void {
    const key = keyOf(labels);
    let s = this.#series.get(key);
    if (!s) {
      s = { counts: this.#bounds.map(() => 0), sum: 0, count: 0 };
      this.#series.set(key, s);
    }
    const at = this.#bounds.findIndex((b) => value <= b);
    if (at >= 0) s.counts[at]! += times;
    s.sum += value * times;
    s.count += times;
  }
  lines(): string[] {
    return [...this.#series].flatMap(([labels, s]) => {
      let total = 0;
      const bucket = (le: string | number, n: number) => `${this.#name}_bucket{${labels}${labels ? "," : ""}le="${le}"} ${n}`;
      const buckets = this.#bounds.map((bound, i) => {
        total += s.counts[i]!;
        return bucket(bound, total);
      });
      return [
        ...buckets,
        bucket("+Inf", s.count),
        `${this.#name}_sum${braced(labels)} ${s.sum}`,
        `${this.#name}_count${braced(labels)} ${s.count}`,
      ];
    });
  }
}

/** `n` bounds, each `factor` times the one before. */
export const exponentialBounds = (start: number, factor: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => start * factor ** i);

/** The metrics of one component. */
export class MetricSet {
  readonly #metrics: { name: string; type: string; help: string; metric: Metric }[] = [];

  counter(name: string, help: string): Value {
    return this.#add(name, "counter", help, new Value(name));
  }
  gauge(name: string, help: string): Value {
    return this.#add(name, "gauge", help, new Value(name));
  }
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(name, "histogram", help, new Histogram(name, bounds));
  }

  #add<M extends Metric>(name: string, type: string, help: string, metric: M): M {
    this.#metrics.push({ name, type, help, metric });
    return metric;
  }

  /** What GET /metrics answers. */
  text(): string {
    const lines = this.#metrics.flatMap(({ name, type, help, metric }) => {
      const values = metric.lines();
      return values.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...values];
    });
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
  }
}
