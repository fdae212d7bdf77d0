import { CorruptFile } from "../../store/wal/format.ts";
import { UsageError } from "../flags.ts";

/** The one file that a snapshot command is about. */
export function onlyFile(command: string, args: readonly string[]): string {
  if (args.length !== 1) throw new UsageError(`snapshot ${command} requires exactly one argument, FILE (got ${args.length})`);
  return args[0]!;
}

/** A file that is not there or no snapshot is a wrong argument. */
export function explainFile(file: string, error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (code === "ENOENT" || code === "EISDIR" || code === "EACCES") return new UsageError(`${file}: ${message}`);
  return error instanceof CorruptFile ? new UsageError(message) : error;
}
