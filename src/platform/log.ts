// Structured log lines in klog's text format (k8s.io/klog/v2), to stderr:
//   I0102 15:04:05.000000    1234 kubelet] Pod started pod="default/hello"
export type Fields = Record<string, unknown>;

export interface Logger {
  /** 0 is always shown; higher ones with -v. */
  info(message: string, fields?: Fields, level?: number): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, error?: unknown, fields?: Fields): void;
}

let verbosity = 0;
// A log that can't be written, on a full disk or a closed pipe, must not end what it tells of.
process.stderr.on("error", () => {});
let write: (line: string) => void = (line) => void process.stderr.write(line);

/** Sets what -v asks for. */
export function setVerbosity(level: number): void {
  verbosity = level;
}

/** Sends lines elsewhere, such as to a file; returns what undoes it. */
export function setLogWriter(next: (line: string) => void): () => void {
  const before = write;
  write = next;
  return () => {
    write = before;
  };
}

const pad = (n: number, width: number) => String(n).padStart(width, "0");

function header(severity: string, name: string): string {
  const d = new Date();
  const date = `${pad(d.getMonth() + 1, 2)}${pad(d.getDate(), 2)}`;
  const time = `${pad(d.getHours(), 2)}:${pad(d.getMinutes(), 2)}:${pad(d.getSeconds(), 2)}.${pad(d.getMilliseconds(), 3)}000`;
  return `${severity}${date} ${time} ${String(process.pid).padStart(7)} ${name}] `;
}

function value(v: unknown): string {
  if (v instanceof Error) return JSON.stringify(v.message);
  if (typeof v === "number" || typeof v === "boolean" || v === null) return String(v);
  return typeof v === "string" ? JSON.stringify(v) : (JSON.stringify(v) ?? String(v));
}

function format(fields?: Fields): string {
  if (!fields) return "";
  let text = "";
  for (const [k, v] of Object.entries(fields)) if (v !== undefined) text += ` ${k}=${value(v)}`;
  return text;
}

/** A logger for one system; `name` stands where klog prints the file. */
export function logger(name: string): Logger {
  return {
    info(message, fields, level = 0) {
      if (level <= verbosity) write(`${header("I", name)}${message}${format(fields)}\n`);
    },
    warn(message, fields) {
      write(`${header("W", name)}${message}${format(fields)}\n`);
    },
    error(message, error, fields) {
      const cause = error === undefined ? "" : ` err=${value(error)}`;
      write(`${header("E", name)}${message}${cause}${format(fields)}\n`);
      if (verbosity >= 4 && error instanceof Error && error.stack) write(`${error.stack}\n`);
    },
  };
}
