// --log-level and --log-outputs.
import { appendFileSync } from "node:fs";
import { setLogWriter, setVerbosity } from "../../platform/log.ts";
import { UsageError } from "../flags.ts";
import type { Values } from "./flags.ts";

/** Severities by which klog's lines begin. */
const SHOWN = { debug: "IWE", info: "IWE", warn: "WE", error: "E", dpanic: "", panic: "", fatal: "" } as const;
const DEBUG = 4;

type Write = (line: string) => void;

const toStderr: Write = (line) => void process.stderr.write(line);
const STREAMS: Record<string, Write> = {
  default: toStderr,
  stderr: toStderr,
  "systemd/journal": toStderr,
  stdout: (line) => void process.stdout.write(line),
};

function outputOf(target: string): Write {
  const stream = STREAMS[target];
  if (stream) return stream;
  const append = (line: string) => appendFileSync(target, line);
  try {
    append("");
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(target)} for flag --log-outputs: ${(error as Error).message}`);
  }
  return (line) => {
    try {
      append(line);
    } catch (error) {
      // A full disk must not end what the log tells of.
      toStderr(`${(error as Error).message}: ${line}`);
    }
  };
}

/** Sends the log where the flags say; throws UsageError. */
export function setUpLog(v: Values): void {
  const debug = v.debug || v["log-level"] === "debug";
  setVerbosity(debug ? Math.max(DEBUG, v.v) : v.v);
  const outputs = [...new Set(v["log-outputs"])].map(outputOf);
  const shown = SHOWN[debug ? "debug" : v["log-level"]];
  setLogWriter((line) => {
    if (shown.includes(line[0]!)) for (const write of outputs) write(line);
  });
}
