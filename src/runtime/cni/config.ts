// Network configuration lists (containernetworking/cni SPEC, "Configuration format").
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface CniPlugin {
  type: string;
  capabilities?: Record<string, boolean>;
  ipam?: { type?: string; dataDir?: string; [key: string]: unknown };
  [key: string]: unknown;
}

export interface CniConfig {
  cniVersion: string;
  name: string;
  plugins: CniPlugin[];
}

/** The first usable configuration of a folder, in the order of file names. @throws Error saying what is wrong. */
export function loadConfig(dir: string): CniConfig {
  let files: string[];
  try {
    files = readdirSync(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    files = [];
  }
  const names = files.filter((f) => /\.(conflist|conf|json)$/.test(f)).sort();
  if (names.length === 0) throw new Error(`no network config found in ${dir}`);
  const problems: string[] = [];
  for (const name of names) {
    try {
      return parseConfig(readFileSync(join(dir, name), "utf8"));
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
    }
  }
  throw new Error(`no valid networks found in ${dir}: ${problems.join("; ")}`);
}

/** Parses a list, or a single plugin's configuration as a list of one. */
export function parseConfig(text: string): CniConfig {
  const value = JSON.parse(text) as Partial<CniConfig> & Partial<CniPlugin>;
  if (typeof value.name !== "string" || value.name === "") throw new Error("no name");
  const cniVersion = typeof value.cniVersion === "string" ? value.cniVersion : "0.2.0";
  const plugins = Array.isArray(value.plugins) ? value.plugins : typeof value.type === "string" ? [value as CniPlugin] : [];
  if (plugins.length === 0) throw new Error("no plugins");
  if (!plugins.every((p) => typeof p.type === "string" && p.type !== "" && !p.type.includes("/")))
    throw new Error("a plugin without a valid type");
  return { cniVersion, name: value.name, plugins };
}
