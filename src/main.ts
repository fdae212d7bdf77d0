// The multi-call entry: `kubun <command>`, or by the name it is called as
// (kube-apiserver, kubelet, …).
import { basename } from "node:path";
import { type AnyCommand, helpText, parseFlags, UsageError } from "./cmd/flags.ts";
import { commands } from "./cmd/table.ts";

/** Upstream's program names, for links to one executable. */
const aliases: Record<string, string> = {
  "kube-apiserver": "apiserver",
  "kube-controller-manager": "controller-manager",
  "kube-scheduler": "scheduler",
  "kube-proxy": "proxy",
  etcd: "store",
  etcdutl: "store",
  kubelet: "kubelet",
  flanneld: "flannel",
};

function overview(): string {
  const width = Math.max(...commands.map((c) => c.name.length));
  const rows = commands.map((c) => `  ${c.name.padEnd(width)}  ${c.summary}`);
  return `kubun: Kubernetes on Bun\n\nUsage:\n  kubun <command> [flags]\n\nCommands:\n${rows.join("\n")}\n\n'kubun <command> --help' tells a command's flags.\n`;
}

/** The command whose name is most of the words that argv begins with. */
function commandOf(words: readonly string[]) {
  for (let n = Math.min(words.length, 3); n > 0; n--) {
    const row = commands.find((c) => c.name === words.slice(0, n).join(" "));
    if (row) return row;
  }
  return undefined;
}

async function main(argv: string[]): Promise<number> {
  const called = aliases[basename(process.argv0)] ?? aliases[basename(process.argv[1] ?? "")];
  const words = called ? [called, ...argv] : argv;
  const name = words[0];
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    process.stdout.write(overview());
    return name === undefined ? 2 : 0;
  }
  const row = commandOf(words);
  if (!row) throw new UsageError(`unknown command ${JSON.stringify(name)}; 'kubun help' lists the commands`);
  const found: AnyCommand = await row.load();
  const parsed = parseFlags(found, words.slice(row.name.split(" ").length));
  if (parsed.help) {
    process.stdout.write(helpText(found));
    return 0;
  }
  return (await found.run(parsed.values, parsed.args, parsed.given)) ?? 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    // A timer or an idle connection that somebody forgot must not keep a finished command alive; output is flushed first.
    process.stdout.write("", () => process.exit(code));
  },
  (error: unknown) => {
    process.stderr.write(`kubun: ${error instanceof Error ? error.message : String(error)}\n`);
    if (!(error instanceof UsageError) && process.env.KUBUN_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
