// Where the values of the flags come from: the command line, ETCD_… variables,
// or a file, with etcd's rules of which counts.
import { readFileSync } from "node:fs";
import { logger } from "../../platform/log.ts";
import { type FlagTable, UsageError } from "../flags.ts";
import { RENAMED, table, type Values } from "./flags.ts";
import { UNUSED } from "./unused.ts";

type Given = ReadonlyMap<string, unknown>;

export interface Settings {
  readonly values: Values;
  /** What was said, by whichever means; not the defaults. */
  readonly given: ReadonlySet<string>;
  /** What there is to be told about it, once it is known where the log goes. */
  readonly warnings: readonly string[];
}

/** Ours, which etcd has no variable for. */
const NO_VARIABLE = new Set(["v", "version"]);
const variableOf = (flag: string) => `ETCD_${flag.toUpperCase().replaceAll("-", "_")}`;

/**
 * What the command line, the environment or the configuration file say.
 *
 * @throws UsageError
 */
export async function readSettings(line: Record<string, unknown>, given: ReadonlySet<string>, env: NodeJS.ProcessEnv): Promise<Settings> {
  const warnings: string[] = [];
  const ofLine: Given = new Map([...given].map((name) => [name, line[name]]));
  const file = (line["config-file"] as string | undefined) || env[variableOf("config-file")];
  if (file) {
    logger("etcd").info("Loading the server's configuration; flags and environment variables are ignored", { path: file });
    return settle(await ofFile(file, warnings), warnings);
  }
  return settle(new Map([...ofLine, ...ofEnvironment(env, given, warnings)]), warnings);
}

function settle(given: Map<string, unknown>, warnings: string[]): Settings {
  for (const [old, now] of Object.entries(RENAMED)) {
    if (given.has(old)) given.set(now, given.get(old));
  }
  for (const [name, { silent, refused, why }] of Object.entries(UNUSED)) {
    const value = given.get(name) as string | undefined;
    if (value === undefined || silent.includes(value)) continue;
    if (refused) throw new UsageError(`--${name}=${value} is not supported: ${why}`);
    warnings.push(`--${name} is ignored: ${why}`);
  }
  const fallbacks = Object.entries(table as FlagTable).map(([name, flag]) => [name, flag.fallback] as const);
  const values = Object.fromEntries([...fallbacks, ...given]) as unknown as Values;
  return { values, given: new Set(given.keys()), warnings };
}

function parse(name: string, text: string, where: string): unknown {
  try {
    return table[name]!.parse(text);
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(text)} for ${where}: ${(error as Error).message}`);
  }
}

function ofEnvironment(env: NodeJS.ProcessEnv, given: ReadonlySet<string>, warnings: string[]): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const names = new Map(Object.keys(table).flatMap((name) => (NO_VARIABLE.has(name) ? [] : [[variableOf(name), name] as const])));
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith("ETCD_") || !text) continue;
    const name = names.get(variable);
    if (!name) warnings.push(`unrecognized environment variable ${variable}=${text}`);
    else if (given.has(name)) {
      const how = "(either unset environment variable or disable flag)";
      throw new UsageError(`conflicting environment variable "${variable}" is shadowed by corresponding command-line flag ${how}`);
    } else found.set(name, parse(name, text, variable));
  }
  return found;
}

/** Sections of the file, and what their keys are as flags. */
const SECTIONS: Record<string, (key: string) => string> = {
  "client-transport-security": (key) => (key === "allowed-hostname" ? "client-cert-allowed-hostname" : key),
  "peer-transport-security": (key) => (key.startsWith("allowed-") ? `peer-cert-${key}` : `peer-${key}`),
};

async function ofFile(path: string, warnings: string[]): Promise<Map<string, unknown>> {
  let document: unknown;
  try {
    document = (await import("yaml")).parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`--config-file ${path}: ${(error as Error).message}`);
  }
  if (document === null) return new Map();
  if (!isMap(document)) throw new UsageError(`--config-file ${path}: not a map`);
  const found = new Map<string, unknown>();
  for (const [key, value] of Object.entries(document).flatMap(([key, value]) => flat(path, key, value))) {
    const text = textOf(key, value);
    if (text === undefined) continue;
    if (table[key] && !NO_VARIABLE.has(key)) found.set(key, parse(key, text, `${key} in ${path}`));
    else warnings.push(`unrecognized key ${key} in ${path}`);
  }
  return found;
}

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

function flat(path: string, key: string, value: unknown): [string, unknown][] {
  const named = SECTIONS[key];
  if (!named || value === null) return [[key, value]];
  if (!isMap(value)) throw new UsageError(`--config-file ${path}: invalid ${key}`);
  return Object.entries(value).map(([inner, v]) => [named(inner), v]);
}

/** As it would stand on a command line; undefined where nothing is said. */
function textOf(key: string, value: unknown): string | undefined {
  if (value === null || value === undefined || value === "") return undefined;
  if (Array.isArray(value)) return value.join(",");
  if (typeof value === "object") return JSON.stringify(value);
  // Go reads a duration from a number of nanoseconds; text is taken as well.
  return typeof value === "number" && table[key]?.placeholder === "DURATION" ? `${value}ns` : String(value);
}
