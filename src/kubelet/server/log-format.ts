// The log format of the CRI: a line is `time stream tags content`, where the
// tag P means that the line goes on in the next (kubernetes/design-proposals,
// kubelet-cri-logging).

export interface LogLine {
  /** RFC 3339 with nanoseconds. */
  time: string;
  stream: "stdout" | "stderr";
  partial: boolean;
  content: Buffer;
}

const space = 0x20;
const newline = 0x0a;

/** Parses a line without its newline; undefined when it is none. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const a = line.indexOf(space);
  const b = a < 0 ? -1 : line.indexOf(space, a + 1);
  if (b < 0) return undefined;
  const stream = line.toString("latin1", a + 1, b);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const c = line.indexOf(space, b + 1);
  const tags = line.toString("latin1", b + 1, c < 0 ? line.length : c);
  return {
    // conmon writes UTC as an offset, containerd as Go does.
    time: line.toString("latin1", 0, a).replace("+00:00", "Z"),
    stream,
    partial: tags.split(":").includes("P"),
    content: c < 0 ? Buffer.alloc(0) : line.subarray(c + 1),
  };
}

/** Parses whole lines; what is none is left out. */
export function* parseLogLines(data: Buffer): Generator<LogLine> {
  for (let start = 0; start < data.length; ) {
    const end = data.indexOf(newline, start);
    const line = parseLogLine(data.subarray(start, end));
    start = end + 1;
    if (line) yield line;
  }
}
