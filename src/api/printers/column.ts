// The pieces every table is made of.
import type * as metaV1 from "../gen/meta/v1.ts";

export type Column = metaV1.TableColumnDefinition;
export type Cell = string | number | boolean | null;

/** How one kind is shown by `kubectl get`. */
export interface Printer<T = never> {
  columns: readonly Column[];
  cells(object: T): Cell[];
  /** Marks a row as done, for clients that hide those. */
  conditions?(object: T): metaV1.TableRowCondition[] | undefined;
}

const define =
  (type: string, priority: number, format = "") =>
  (name: string, description = name): Column => ({ name, type, format, description, priority });

/** A column that is always shown. */
export const text = define("string", 0);
export const number = define("integer", 0);
/** A column that only `-o wide` shows. */
export const wide = define("string", 1);
export const wideNumber = define("integer", 1);
export const NAME: Column = { ...define("string", 0, "name")("Name"), description: "Unique within its namespace." };
export const AGE = text("Age", "Time since the object was created.");

const units: [under: number, text: (s: number) => string][] = [
  [120, (s) => `${s}s`],
  [600, (s) => two(s, 60, "m", 1, "s")],
  [3 * 3600, (s) => `${Math.floor(s / 60)}m`],
  [8 * 3600, (s) => two(s, 3600, "h", 60, "m")],
  [48 * 3600, (s) => `${Math.floor(s / 3600)}h`],
  [8 * 86_400, (s) => two(s, 86_400, "d", 3600, "h")],
  [2 * 365 * 86_400, (s) => `${Math.floor(s / 86_400)}d`],
  [8 * 365 * 86_400, (s) => two(s, 365 * 86_400, "y", 86_400, "d")],
];

/** Two units, the smaller one left out where it is zero. */
function two(seconds: number, big: number, bigName: string, small: number, smallName: string): string {
  const rest = Math.floor((seconds % big) / small);
  return `${Math.floor(seconds / big)}${bigName}${rest ? `${rest}${smallName}` : ""}`;
}

/** A duration as kubectl shows it (k8s.io/apimachinery/pkg/util/duration). */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  return units.find(([under]) => seconds < under)?.[1](seconds) ?? `${Math.floor(seconds / (365 * 86_400))}y`;
}

/** How long ago a moment was; "<unknown>" when there is none. */
export const since = (time: string | undefined): string => (time ? humanDuration(Date.now() - Date.parse(time)) : "<unknown>");

export const age = (o: { metadata: metaV1.ObjectMeta }): string => since(o.metadata.creationTimestamp);
export const name = (o: { metadata: metaV1.ObjectMeta }): string => o.metadata.name ?? "";

/** Values with commas between, "<none>" without any. */
export const joined = (values: readonly (string | undefined)[] | undefined): string => values?.filter(Boolean).join(",") || "<none>";

export const count = (o: object | undefined): number => (o ? Object.keys(o).length : 0);

/** Names and images of containers, as wide tables of workloads show them. */
export const containers = (spec: { containers?: { name: string; image?: string }[] } | undefined): [string, string] => [
  spec?.containers?.map((c) => c.name).join(",") ?? "",
  spec?.containers?.map((c) => c.image ?? "").join(",") ?? "",
];
