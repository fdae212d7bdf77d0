// `bun run bench NAME… [--quick] [--json FILE]`: runs the named benchmarks, or
// all of them.
import { readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { bool, parseFlags, text, UsageError } from "../src/cmd/flags.ts";
import { type Benchmark, type Row, table } from "./report.ts";

const flags = {
  quick: bool(false, "end within a minute"),
  json: text("FILE", "", "write the rows there too"),
};

const names = readdirSync(import.meta.dirname)
  .filter((f) => f.endsWith(".bench.ts"))
  .map((f) => basename(f, ".bench.ts"))
  .sort();

try {
  const { values, args, help } = parseFlags({ name: "bench", flags, maxArguments: names.length }, process.argv.slice(2));
  if (help) {
    console.log(`bun run bench [NAME…] [--quick] [--json FILE]\n\nBenchmarks: ${names.join(", ")}`);
    process.exit(0);
  }
  const unknown = args.find((a) => !names.includes(a));
  if (unknown !== undefined) throw new UsageError(`no benchmark ${JSON.stringify(unknown)}; there are: ${names.join(", ")}`);
  const rows: Row[] = [];
  for (const name of args.length > 0 ? args : names) {
    console.error(`bench ${name} ...`);
    const { default: benchmark } = (await import(join(import.meta.dirname, `${name}.bench.ts`))) as { default: Benchmark };
    rows.push(...(await benchmark({ quick: values.quick as boolean })));
  }
  console.log(table(rows));
  if (values.json) writeFileSync(values.json as string, `${JSON.stringify(rows, null, 2)}\n`);
} catch (e) {
  if (!(e instanceof UsageError)) throw e;
  console.error(`bench: ${e.message}`);
  process.exit(2);
}
