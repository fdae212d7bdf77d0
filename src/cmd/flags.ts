// Command-line flags as tables. Accepts what Go's pflag accepts: --name value,
// --name=value, --bool, --bool=false, -v 2, -v=2, and `--` before arguments.

/** A flag, value or argument that is wrong; ends the command with exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

export interface Flag<T> {
  readonly help: string;
  /** Shown in the help text: DIR, N, CIDR. Absent for booleans. */
  readonly placeholder?: string;
  readonly short?: string;
  readonly fallback: T;
  /** Turns the text into a value; throws an Error that says what would be right. */
  readonly parse: (text: string) => T;
  readonly boolean?: boolean;
  /** May be given more than once; `parse` gets each, `merge` adds them up. */
  // A method, because TypeScript then lets tables hold flags of any type.
  merge?(before: T, next: T): T;
  readonly hidden?: boolean;
  /** The flag may stand alone: then it means `text`, unless a word that fits `value` follows. */
  readonly alone?: { text: string; value: RegExp };
}

export type FlagTable = Record<string, Flag<unknown>>;
export type FlagValues<F extends FlagTable> = { [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

export const text = (placeholder: string, fallback: string, help: string): Flag<string> => ({
  placeholder,
  fallback,
  help,
  parse: (s) => s,
});

export const optionalText = (placeholder: string, help: string): Flag<string | undefined> => ({
  placeholder,
  fallback: undefined,
  help,
  parse: (s) => s,
});

export function choice<const C extends string>(choices: readonly C[], fallback: C, help: string): Flag<C> {
  return {
    placeholder: choices.join("|"),
    fallback,
    help,
    parse: (s) => {
      if (!(choices as readonly string[]).includes(s)) throw new Error(`must be one of ${choices.join(", ")}`);
      return s as C;
    },
  };
}

export function integer(
  placeholder: string,
  fallback: number,
  help: string,
  range: [min: number, max: number] = [0, Number.MAX_SAFE_INTEGER],
): Flag<number> {
  return {
    placeholder,
    fallback,
    help,
    parse: (s) => {
      const n = Number(s);
      if (!/^-?\d+$/.test(s) || n < range[0] || n > range[1]) throw new Error(`must be a whole number from ${range[0]} to ${range[1]}`);
      return n;
    },
  };
}

export const bool = (fallback: boolean, help: string): Flag<boolean> => ({
  fallback,
  help,
  boolean: true,
  parse: (s) => {
    if (/^(true|t|1)$/i.test(s)) return true;
    if (/^(false|f|0)$/i.test(s)) return false;
    throw new Error("must be true or false");
  },
});

/** Comma-separated, and may be given more than once. */
export const list = (placeholder: string, fallback: readonly string[], help: string): Flag<readonly string[]> => ({
  placeholder,
  fallback,
  help,
  parse: (s) => s.split(",").filter((x) => x !== ""),
  merge: (before, next) => [...before, ...next],
});

const units: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Go's duration syntax ("1m30s"), as milliseconds. */
export const duration = (fallback: number, help: string): Flag<number> => ({
  placeholder: "DURATION",
  fallback,
  help,
  parse: (s) => {
    if (s === "0") return 0;
    if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(s)) throw new Error('must be a duration such as "500ms", "30s" or "1m30s"');
    let total = 0;
    for (const [, n, unit] of s.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) total += Number(n) * units[unit!]!;
    return total;
  },
});

/** `--v` and `-v`: how much is logged, as in every Kubernetes component. */
export const verbosity: Flag<number> = {
  ...integer("N", 0, "log verbosity, from 0 to 10", [0, 10]),
  short: "v",
  alone: { text: "1", value: /^\d+$/ },
};

export interface Command<F extends FlagTable> {
  readonly name: string;
  readonly summary: string;
  readonly flags: F;
  /** Names of positional arguments for the help text: "DIR -t NAME". */
  readonly usage?: string;
  readonly maxArguments?: number;
  run(values: FlagValues<F>, args: string[], given: ReadonlySet<keyof F>): Promise<number | void>;
}

/** Erases the flag types so that commands of all kinds fit one table. */
export type AnyCommand = Command<FlagTable>;
export const command = <F extends FlagTable>(c: Command<F>): AnyCommand => c as unknown as AnyCommand;

export interface Parsed {
  values: Record<string, unknown>;
  args: string[];
  given: Set<string>;
  help: boolean;
}

/** Parses argv by a table. Throws UsageError naming the flag and the value. */
export function parseFlags(c: { name: string; flags: FlagTable; maxArguments?: number }, argv: readonly string[]): Parsed {
  const shorts = new Map(Object.entries(c.flags).flatMap(([name, f]) => (f.short ? [[f.short, name] as const] : [])));
  const values: Record<string, unknown> = Object.fromEntries(Object.entries(c.flags).map(([k, f]) => [k, f.fallback]));
  const given = new Set<string>();
  const args: string[] = [];
  let help = false;
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--") {
      args.push(...argv.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      args.push(arg);
      continue;
    }
    const long = arg.startsWith("--");
    const eq = arg.indexOf("=");
    const written = arg.slice(long ? 2 : 1, eq < 0 ? undefined : eq);
    if (written === "help" || (!long && written === "h")) {
      help = true;
      continue;
    }
    const name = long && c.flags[written] ? written : (shorts.get(written) ?? (long ? undefined : c.flags[written] ? written : undefined));
    const flag = name === undefined ? undefined : c.flags[name];
    if (!flag || name === undefined)
      throw new UsageError(
        `unknown ${long ? "flag" : "shorthand flag"}: ${arg.slice(0, eq < 0 ? undefined : eq)} (see 'kubun ${c.name} --help')`,
      );
    let value = eq < 0 ? undefined : arg.slice(eq + 1);
    if (value === undefined) {
      const next = argv[i + 1];
      if (flag.boolean) value = "true";
      else if (flag.alone && !(next !== undefined && flag.alone.value.test(next))) value = flag.alone.text;
      else if (i + 1 < argv.length) value = argv[++i]!;
      else throw new UsageError(`flag needs an argument: ${arg}`);
    }
    let parsed: unknown;
    try {
      parsed = flag.parse(value);
    } catch (e) {
      throw new UsageError(`invalid value ${JSON.stringify(value)} for flag --${name}: ${(e as Error).message}`);
    }
    values[name] = flag.merge && given.has(name) ? flag.merge(values[name], parsed) : parsed;
    given.add(name);
  }
  if (!help && args.length > (c.maxArguments ?? 0)) {
    throw new UsageError(`unexpected argument ${JSON.stringify(args[c.maxArguments ?? 0])} (see 'kubun ${c.name} --help')`);
  }
  return { values, args, given, help };
}

/** The text of `--help`. */
export function helpText(c: AnyCommand): string {
  const rows = Object.entries(c.flags)
    .filter(([, f]) => !f.hidden)
    .map(([name, f]) => {
      const left = `${f.short && f.short !== name ? `-${f.short}, ` : "    "}${name.length === 1 ? "-" : "--"}${name}${f.placeholder ? ` ${f.placeholder}` : ""}`;
      const empty =
        f.fallback === undefined || f.fallback === "" || f.fallback === false || (Array.isArray(f.fallback) && f.fallback.length === 0);
      return [left, `${f.help}${empty ? "" : ` (default ${String(f.fallback)})`}`] as const;
    });
  const width = Math.max(0, ...rows.map(([l]) => l.length));
  const lines = rows.map(([l, r]) => `  ${l.padEnd(width)}  ${r}`);
  return `${c.summary}\n\nUsage:\n  kubun ${c.name}${c.usage ? ` ${c.usage}` : ""} [flags]\n${lines.length ? `\nFlags:\n${lines.join("\n")}\n` : ""}`;
}
