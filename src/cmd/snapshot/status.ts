// `kubun store snapshot status`: what etcdutl tells of a snapshot, in its formats.
import type { SnapshotStatus } from "../../store/backup/status.ts";
import { choice, command } from "../flags.ts";
import { explainFile, onlyFile } from "./arguments.ts";

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes as etcd's tools print them: powers of 1000, one decimal below ten. */
function humanBytes(n: number): string {
  if (n < 10) return `${n} B`;
  const power = Math.min(Math.floor(Math.log10(n) / 3), UNITS.length - 1);
  const value = Math.floor((n / 1000 ** power) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[power]}`;
}

function table(head: readonly string[], row: readonly string[]): string {
  const widths = head.map((h, i) => Math.max(h.length, row[i]!.length));
  const line = `+${widths.map((w) => "-".repeat(w + 2)).join("+")}+`;
  const centred = head.map((h, i) => {
    const left = Math.floor((widths[i]! - h.length) / 2);
    return ` ${" ".repeat(left)}${h.padEnd(widths[i]! - left)} `;
  });
  const cells = row.map((c, i) => ` ${c.padStart(widths[i]!)} `);
  return [line, `|${centred.join("|")}|`, line, `|${cells.join("|")}|`, line].join("\n");
}

const cellsOf = ({ hash, revision, totalKey, totalSize, version }: SnapshotStatus) => [
  hash.toString(16),
  String(revision),
  String(totalKey),
  humanBytes(totalSize),
  version,
];

const FORMATS: Record<"simple" | "json" | "fields" | "table", (s: SnapshotStatus) => string> = {
  simple: (s) => cellsOf(s).join(", "),
  json: (s) => JSON.stringify(s),
  fields: ({ hash, revision, totalKey, totalSize, version }) =>
    [`"Hash" : ${hash}`, `"Revision" : ${revision}`, `"Keys" : ${totalKey}`, `"Size" : ${totalSize}`, `"Version" : ${version}`].join("\n"),
  table: (s) => table(["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"], cellsOf(s)),
};

const flags = {
  "write-out": { ...choice(["simple", "json", "fields", "table"], "simple", "how to print it"), short: "w" },
};

export default command({
  name: "store snapshot status",
  summary: "Tells what a snapshot's file holds: a hash over it, its revision, keys and size",
  usage: "FILE",
  flags,
  maxArguments: 1,
  async run(values, args) {
    const path = onlyFile("status", args);
    const [{ openSnapshot }, { snapshotStatus }] = await Promise.all([
      import("../../store/backup/file.ts"),
      import("../../store/backup/status.ts"),
    ]);
    try {
      using file = openSnapshot(path);
      process.stdout.write(`${FORMATS[values["write-out"]](snapshotStatus(file.db))}\n`);
    } catch (error) {
      throw explainFile(path, error);
    }
  },
});
