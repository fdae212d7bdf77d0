// The write-ahead log: a directory of segments, one writer.
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../../platform/files.ts";
import { isNoSpace, reserve } from "./files.ts";
import {
  CorruptFile,
  decodeSegmentHeader,
  type Entry,
  encodeFrame,
  encodeSegmentHeader,
  FORMAT_VERSION,
  frameBytes,
  type HardState,
  type Identity,
  SEGMENT_HEADER,
} from "./format.ts";
import { scanSegment } from "./scan.ts";
import { listSegments, type Segment, segmentAt, settle } from "./segments.ts";
import { Spare } from "./spare.ts";
import { DataSync } from "./sync.ts";

export interface WalOptions {
  /** A segment is left for the next at this many bytes. Default 16 MiB. */
  segmentBytes?: number;
  /** Makes the identity of a new log, and what it starts from, if that isn't a snapshot. */
  create(): Identity & { base?: Entry; hardState?: HardState };
  /** Entries after this index are handed to the visitor: what the newest snapshot does not hold. */
  after: number;
  visit: LogVisitor;
  /** fdatasync, for tests that break it. */
  sync?: (fd: number) => Promise<void>;
  /** Told how long each fdatasync took. */
  synced?: (milliseconds: number) => void;
}

/** What a log says when it is read back, in the order in which it was written. */
export interface LogVisitor {
  /** Whose log it is, before all else. */
  identity?(identity: Identity): void;
  /** Takes the place of whatever came at its index or after. `data` is a view of what was read. */
  entry(entry: Entry): void;
  hardState(state: HardState): void;
  /** No entry from this index on counts any more. */
  truncate(from: number): void;
}

/** Why a write was not taken. Nothing of it will be there after a restart, unless `broken`. */
export class WalError extends Error {
  override name = "WalError";
  /** The disk failed underneath: what it holds is unknown until the log is opened again. */
  readonly broken: boolean;
  constructor(message: string, broken: boolean, cause: unknown) {
    super(message, { cause });
    this.broken = broken;
  }
  /** The disk is full; room may come back. */
  get noSpace(): boolean {
    return !this.broken && isNoSpace(this.cause);
  }
}

const FIRST_RESERVE = 256 * 1024;
const MAX_RESERVE = 8 * 1024 * 1024;
/** Smaller segments are not worth a file that is prepared for them. */
const LEAST_SPARE = 1024 * 1024;

export class Wal {
  readonly identity: Identity;
  /** The format of what was read back. */
  readonly version: number = FORMAT_VERSION;
  /** Bytes that a crash left of an unacknowledged write, now cut off. */
  readonly cut: { file: string; offset: number } | undefined;
  #hardState: HardState;
  /** Bytes of frames since it was opened, for metrics. */
  written = 0;
  readonly #dir: string;
  readonly #segmentBytes: number;
  readonly #segments: Segment[];
  readonly #spare: Spare;
  readonly #sync: (fd: number) => Promise<void>;
  readonly #synced: (milliseconds: number) => void;
  #fd: number;
  /** Where the next frame goes, and up to where the file has room for it. */
  #end: number;
  #reserved: number;
  #nextFrame: number;
  #lastIndex: number;
  #broken: WalError | undefined;

  private constructor(dir: string, options: WalOptions) {
    this.#dir = dir;
    const disk = new DataSync();
    this.#synced = options.synced ?? (() => {});
    this.#sync = options.sync ?? ((fd) => disk.sync(fd));
    this.#segmentBytes = options.segmentBytes ?? 16 * 1024 * 1024;
    this.#spare = new Spare(dir, this.#segmentBytes);
    const found = listSegments(dir);
    this.#hardState = { term: 0, vote: 0n, commit: 0 };
    this.#segments = [];
    this.#lastIndex = options.after;
    if (found.length === 0) {
      const { clusterId, memberId, base, hardState } = options.create();
      this.identity = { clusterId, memberId };
      this.#fd = -1;
      this.#end = this.#reserved = 0;
      this.#nextFrame = 1;
      if (hardState) this.#hardState = hardState;
      this.#openSegment(1, base ? [base] : []);
      if (base) this.#lastIndex = base.index;
      return;
    }
    let identity: Identity | undefined;
    let frame: number | undefined;
    let end = 0;
    let torn = false;
    let lastIndex = 0;
    let ahead = false;
    let version = FORMAT_VERSION;
    settle(found.at(-1)!.path);
    for (const [i, { number, path }] of found.entries()) {
      const bytes = readFileSync(path);
      const header = decodeSegmentHeader(path, bytes);
      if (header.segment !== number) throw new CorruptFile(path, 16, `says it is segment ${header.segment}`);
      const before = found[i - 1];
      if (before && number !== before.number + 1) throw new Error(`${path}: segment ${before.number + 1} before it is missing`);
      if (frame !== undefined && header.firstFrame !== frame) {
        throw new CorruptFile(before!.path, end, `ends before frame ${header.firstFrame}, with which the next segment starts`);
      }
      const had = Math.max(lastIndex, options.after);
      if (header.firstIndex > had + 1) {
        throw new Error(`${dir}: entries ${had + 1} to ${header.firstIndex - 1} are missing; the newest snapshot is at ${options.after}`);
      }
      version = header.version;
      if (i === 0) this.version = version;
      if (!identity) {
        identity = { clusterId: header.clusterId, memberId: header.memberId };
        options.visit.identity?.(identity);
      }
      if (before && header.firstIndex <= lastIndex) options.visit.truncate(header.firstIndex);
      lastIndex = header.firstIndex - 1;
      const scan = scanSegment(path, bytes, header.firstFrame, i === found.length - 1, {
        entry: (entry) => {
          if (entry.index > lastIndex + 1) throw new CorruptFile(path, 0, `entry ${entry.index} follows entry ${lastIndex}`);
          lastIndex = entry.index;
          if (entry.index > options.after) {
            options.visit.entry(entry);
            ahead = true;
          } else if (ahead) {
            // It takes the place of later ones too, though the snapshot holds what stands at its own index.
            options.visit.truncate(options.after + 1);
            ahead = false;
          }
        },
        hardState: (state) => {
          this.#hardState = state;
          options.visit.hardState(state);
        },
      });
      this.#segments.push({ path, number, firstIndex: header.firstIndex });
      frame = scan.nextFrame;
      end = scan.end;
      torn = scan.torn;
    }
    this.identity = identity!;
    this.#lastIndex = Math.max(lastIndex, options.after);
    this.#nextFrame = frame!;
    const current = this.#segments.at(-1)!;
    this.#fd = openSync(current.path, "r+");
    this.#end = this.#reserved = end;
    // What is left behind the end was never acknowledged, and must not be read as a frame later.
    ftruncateSync(this.#fd, end);
    fsyncSync(this.#fd);
    if (torn) {
      this.cut = { file: current.path, offset: end };
    }
    // A snapshot of the leader's can be ahead of the log: a crash came before the log began anew.
    if (lastIndex < options.after) this.restart(options.after, this.#hardState);
    else if (version < FORMAT_VERSION) this.#rotate();
  }

  /**
   * Opens the log in a directory, or makes one.
   *
   * @throws CorruptFile naming file and offset, for all but a torn tail
   */
  static open(dir: string, options: WalOptions): Wal {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(dir)) if (name.endsWith(".tmp")) rmSync(join(dir, name));
    return new Wal(dir, options);
  }

  /** Whether there is a log in a directory. */
  static exists(dir: string): boolean {
    return existsSync(dir) && listSegments(dir).length > 0;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /**
   * Makes sure that the disk has room for entries of so many bytes in all.
   * Not while an append is under way.
   *
   * @throws WalError
   */
  reserve(entries: number, bytes: number): void {
    if (this.#broken) throw this.#broken;
    this.#makeRoom(frameBytes(64 + bytes + entries * 32));
  }

  /** Begins the log anew behind a snapshot, without any entry. Not while an append is under way. Throws WalError. */
  restart(index: number, hardState: HardState): void {
    if (this.#broken) throw this.#broken;
    this.#lastIndex = index;
    this.#hardState = hardState;
    this.#rotate();
    this.#remove(this.#segments.length - 1);
  }

  /**
   * Appends entries as one frame; resolves once they are durable. One call at
   * a time. Rejects with WalError, and then none of the entries is there.
   */
  async append(entries: readonly Entry[], hardState?: HardState): Promise<void> {
    if (this.#broken) throw this.#broken;
    if (entries.length > 0 && entries[0]!.index > this.#lastIndex + 1) {
      throw new RangeError(`entry ${entries[0]!.index} can't follow entry ${this.#lastIndex}`);
    }
    let body = hardState ? 64 : 0;
    for (const e of entries) body += e.data.length + 32;
    this.#makeRoom(frameBytes(body));
    const bytes = encodeFrame(this.#nextFrame, entries, hardState);
    this.#write(bytes, this.#end);
    const started = performance.now();
    try {
      await this.#sync(this.#fd);
      this.#synced(performance.now() - started);
    } catch (error) {
      this.#broken = new WalError(`fdatasync of ${this.#segments.at(-1)!.path}: ${(error as Error).message}`, true, error);
      throw this.#broken;
    }
    this.#end += bytes.length;
    this.written += bytes.length;
    this.#reserved = Math.max(this.#reserved, this.#end);
    this.#nextFrame++;
    if (hardState) this.#hardState = hardState;
    const last = entries.at(-1);
    if (last) this.#lastIndex = last.index;
    if (this.#end > this.#segmentBytes / 4 && this.#segmentBytes >= LEAST_SPARE) this.#spare.prepare();
  }

  /** Removes the segments that hold nothing but entries up to this index. */
  release(index: number): void {
    const kept = this.#segments.findIndex((_, i) => (this.#segments[i + 1]?.firstIndex ?? Number.POSITIVE_INFINITY) > index + 1);
    this.#remove(kept);
  }

  /** Removes the oldest segments. */
  #remove(count: number): void {
    for (const { path } of this.#segments.splice(0, count)) rmSync(path, { force: true });
    if (count > 0) syncDirectory(this.#dir);
  }

  /** Not while an append is under way. */
  close(): void {
    if (this.#fd < 0) return;
    this.#spare.discard();
    if (!this.#broken) ftruncateSync(this.#fd, this.#end);
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #write(bytes: Uint8Array, offset: number): void {
    const path = this.#segments.at(-1)!.path;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, offset + at);
    } catch (error) {
      const failure = this.#failed(`write to ${path}`, error);
      if (!failure.broken) this.#forget(offset);
      throw failure;
    }
  }

  /** Cuts what a failed write left; if even that fails, only opening again can tell what is there. */
  #forget(offset: number): void {
    try {
      ftruncateSync(this.#fd, offset);
      this.#reserved = offset;
    } catch (error) {
      this.#broken = new WalError(`truncate of ${this.#segments.at(-1)!.path}: ${(error as Error).message}`, true, error);
    }
  }

  #makeRoom(bytes: number): void {
    if (this.#end + bytes > this.#segmentBytes && this.#end > 2 * SEGMENT_HEADER + 64) this.#rotate();
    if (this.#end + bytes <= this.#reserved) return;
    let want = Math.min(Math.max(this.#end, FIRST_RESERVE), MAX_RESERVE);
    want = Math.max(bytes, Math.min(want, this.#segmentBytes - this.#end));
    // Less will do on a disk that is nearly full.
    while (!reserve(this.#fd, this.#end, want)) {
      if (want === bytes && !this.#spare.discard()) throw noSpace(this.#segments.at(-1)!.path);
      want = Math.max(bytes, want >> 1);
    }
    this.#reserved = this.#end + want;
  }

  #rotate(): void {
    const before = { fd: this.#fd, end: this.#end };
    this.#openSegment(this.#segments.at(-1)!.number + 1);
    // What was reserved and not used is given back. After a crash it may still be there: then the segment ends in zeros.
    try {
      ftruncateSync(before.fd, before.end);
    } finally {
      closeSync(before.fd);
    }
  }

  /** Written aside and renamed, so that a segment is there with its header or not at all. */
  #openSegment(number: number, entries: readonly Entry[] = []): void {
    const firstIndex = this.#lastIndex + 1;
    const segment = segmentAt(this.#dir, number, firstIndex);
    const { path } = segment;
    const header = encodeSegmentHeader({ segment: number, firstFrame: this.#nextFrame, firstIndex, ...this.identity });
    const state = encodeFrame(this.#nextFrame, entries, this.#hardState);
    const spare = this.#spare.take();
    const aside = spare ?? `${path}.tmp`;
    let reserved = this.#segmentBytes;
    let fd = -1;
    try {
      fd = openSync(aside, spare ? "r+" : "w+", 0o600);
      if (!spare) reserved = this.#reserveFirst(fd, path);
      writeSync(fd, header, 0, header.length, 0);
      writeSync(fd, state, 0, state.length, header.length);
      fsyncSync(fd);
      renameSync(aside, path);
      syncDirectory(this.#dir);
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      rmSync(aside, { force: true });
      throw error instanceof WalError ? error : this.#failed(`new segment ${path}`, error);
    }
    this.#fd = fd;
    this.#segments.push(segment);
    this.#end = header.length + state.length;
    this.#reserved = reserved;
    this.#nextFrame++;
  }

  /** Of a disk that is full, nothing is there and room may come; after anything else, what is there is unknown. */
  #failed(what: string, error: unknown): WalError {
    const failure = new WalError(`${what}: ${(error as Error).message}`, !isNoSpace(error), error);
    if (failure.broken) this.#broken = failure;
    return failure;
  }

  #reserveFirst(fd: number, path: string): number {
    for (const bytes of [Math.min(FIRST_RESERVE, this.#segmentBytes), 4096]) if (reserve(fd, 0, bytes)) return bytes;
    throw noSpace(path);
  }
}

const noSpace = (path: string) =>
  new WalError(`write to ${path}: no space left on device`, false, Object.assign(new Error("no space left on device"), { code: "ENOSPC" }));
