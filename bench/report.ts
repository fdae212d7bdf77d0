// What every benchmark reports, and how it is printed.

/** Minimum, median and maximum of several runs. */
export interface Spread {
  min: number;
  median: number;
  max: number;
}

export interface Row {
  /** The benchmark: "boot". */
  name: string;
  /** What was measured: "ready". */
  metric: string;
  unit: string;
  ours: Spread;
  /** The program compared with, in the same run; null where there is none. */
  peer: string | null;
  peerValue: number | null;
  /** How many times better ours is than the peer; null without a peer. */
  ratio: number | null;
  /** What the project holds itself to, in words. */
  aim: string;
}

export interface BenchOptions {
  /** End within a minute. */
  quick: boolean;
}

export type Benchmark = (options: BenchOptions) => Promise<Row[]>;

export function spread(values: number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { min: sorted[0]!, median, max: sorted.at(-1)! };
}

const figure = (n: number) => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(3));

export function table(rows: Row[]): string {
  const cells = [
    ["BENCHMARK", "METRIC", "UNIT", "MIN", "MEDIAN", "MAX", "PEER", "PEER VALUE", "RATIO", "AIM"],
    ...rows.map((r) => [
      r.name,
      r.metric,
      r.unit,
      figure(r.ours.min),
      figure(r.ours.median),
      figure(r.ours.max),
      r.peer ?? "-",
      r.peerValue === null ? "-" : figure(r.peerValue),
      r.ratio === null ? "-" : `${r.ratio.toFixed(2)}×`,
      r.aim,
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((c) => c[i]!.length)));
  return cells
    .map((c) =>
      c
        .map((x, i) => x.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
