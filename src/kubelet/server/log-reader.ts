// Reads a container's log file: its end, since a time, and what is still to
// come (upstream's pkg/kubelet/kuberuntime/logs).
import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { parseLogLines } from "./log-format.ts";

export interface LogOptions {
  follow?: boolean;
  /** Lines from the end. */
  tail?: number;
  /** Milliseconds since the epoch. */
  since?: number;
  timestamps?: boolean;
  limitBytes?: number;
  stream?: "stdout" | "stderr";
}

export interface LogSource {
  path: string;
  /** Whether the container may still write. */
  running(): boolean;
  /** Calls back when the container's state may have changed; returns what ends that. */
  onChange(fn: () => void): () => void;
}

const block = 65_536;
const newline = 0x0a;

/** The offset of the last `lines` lines of a file. */
export async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines <= 0) return size;
  const buffer = Buffer.alloc(block);
  let left = lines;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - block);
    const { bytesRead } = await file.read(buffer, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i--) {
      // The newline that ends the file ends its last line, and begins none.
      if (buffer[i] !== newline || start + i === size - 1) continue;
      if (--left === 0) return start + i + 1;
    }
    end = start;
  }
  return 0;
}

/**
 * Bun's watch leaves out what follows a change of the same file within some
 * milliseconds. So for this long after one, in milliseconds, a reader looks again
 * this often.
 */
const joinedFor = 50;
const lookEvery = 4;

/** Wakes a reader when a folder or a container changes. */
class Waker {
  #wake: (() => void) | undefined;
  #pending = false;
  #changed = Number.NEGATIVE_INFINITY;
  readonly #watcher: FSWatcher;
  readonly #undo: () => void;

  constructor(source: LogSource, signal: AbortSignal) {
    const fire = () => {
      this.#pending = true;
      this.#wake?.();
    };
    this.#watcher = watch(dirname(source.path), () => {
      this.#changed = performance.now();
      fire();
    });
    this.#undo = source.onChange(fire);
    signal.addEventListener("abort", fire, { once: true });
  }

  async wait(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (!this.#pending)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (performance.now() - this.#changed < joinedFor) timer = setTimeout(resolve, lookEvery);
      });
    clearTimeout(timer);
    this.#wake = undefined;
    this.#pending = false;
  }

  close(): void {
    this.#watcher.close();
    this.#undo();
  }
}

/** The log's content in chunks. Throws an ENOENT error when there is no such file. */
export async function* readLog(source: LogSource, options: LogOptions, signal: AbortSignal): AsyncGenerator<Buffer> {
  let budget = options.limitBytes ?? Number.POSITIVE_INFINITY;
  if (budget <= 0) return;
  const format = new Formatter(options);
  for await (const lines of logLines(source, options, signal)) {
    if (!lines) continue;
    const out = format.lines(lines).subarray(0, budget);
    budget -= out.length;
    if (out.length > 0) yield out;
    if (budget <= 0) return;
  }
}

/**
 * The log's lines as they stand in it, some at a time; undefined each time that
 * all is read and more may come. Throws as readLog.
 */
export async function* logLines(
  source: LogSource,
  options: Pick<LogOptions, "follow" | "tail">,
  signal: AbortSignal,
): AsyncGenerator<Buffer | undefined> {
  let file = await open(source.path, "r");
  const waker = options.follow ? new Waker(source, signal) : undefined;
  try {
    let offset = options.tail === undefined ? 0 : await tailOffset(file, options.tail);
    // The container may write on while its last lines are read.
    let wanted = options.follow ? Number.POSITIVE_INFINITY : (options.tail ?? Number.POSITIVE_INFINITY);
    let rest: Buffer = Buffer.alloc(0);
    /** Another file is in this one's place. */
    let left = false;
    const buffer = Buffer.alloc(block);
    while (!signal.aborted && wanted > 0) {
      // Asked before reading: what a container wrote before it ended is read after.
      const running = source.running();
      const { bytesRead } = await file.read(buffer, 0, block, offset);
      if (bytesRead > 0) {
        offset += bytesRead;
        const data = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = data.lastIndexOf(newline);
        rest = Buffer.from(data.subarray(end + 1));
        const lines = firstLines(data.subarray(0, end + 1), wanted);
        wanted -= lines.count;
        if (end >= 0) yield lines.data;
        continue;
      }
      if (!waker) return;
      if (left || (await rotated(file, source.path))) {
        // What came between the last read and the rename is still to be read.
        left = !left;
        if (left) continue;
        await file.close();
        file = await open(source.path, "r");
        offset = 0;
        continue;
      }
      if (!running) return;
      yield undefined;
      await waker.wait();
    }
  } finally {
    waker?.close();
    await file.close();
  }
}

/** So many of the lines, or all; an unbounded number is not counted. */
function firstLines(data: Buffer, most: number): { data: Buffer; count: number } {
  if (most === Number.POSITIVE_INFINITY) return { data, count: 0 };
  let count = 0;
  let end = 0;
  for (; count < most && end < data.length; count++) end = data.indexOf(newline, end) + 1;
  return { data: data.subarray(0, end), count };
}

async function rotated(file: FileHandle, path: string): Promise<boolean> {
  const [held, there] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
  return there !== undefined && there.ino !== held.ino;
}

/** Turns lines of the CRI's format into what the application wrote. */
class Formatter {
  readonly #options: LogOptions;
  #atStart = true;

  constructor(options: LogOptions) {
    this.#options = options;
  }

  lines(data: Buffer): Buffer {
    const { since, stream, timestamps } = this.#options;
    const parts: Buffer[] = [];
    for (const line of parseLogLines(data)) {
      if (stream && line.stream !== stream) continue;
      if (since !== undefined && Date.parse(line.time) < since) continue;
      if (timestamps && this.#atStart) parts.push(Buffer.from(`${line.time} `));
      parts.push(line.content);
      if (!line.partial) parts.push(Buffer.from("\n"));
      this.#atStart = !line.partial;
    }
    return Buffer.concat(parts);
  }
}
