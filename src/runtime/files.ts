// Small files that have to be whole or absent.
import { readFileSync, renameSync, writeFileSync } from "node:fs";

let counter = 0;

/** Replaces a file in one step. */
export function writeAtomic(path: string, data: string | Uint8Array): void {
  const temporary = `${path}.${process.pid}.${counter++}.tmp`;
  writeFileSync(temporary, data);
  renameSync(temporary, path);
}

/** The text of a file, or undefined if there is none. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Parses a file of JSON; undefined if it is missing. Throws naming the file if it is damaged. */
export function readJson<T>(path: string): T | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new Error(`${path} is damaged: ${(error as Error).message}`, { cause: error });
  }
}
