// Looks after the connections of a server: those that never say a word, idle
// ones, old ones, and those that ask for answers and don't take them.
import { ErrorCode, Http2Error } from "./errors.ts";

export interface ConnectionLimits {
  /** Milliseconds for TLS and the first frame or head. Default 120 000. */
  handshakeTimeout?: number;
  /** Milliseconds without a stream after which a connection is drained. Default: never. */
  maxIdle?: number;
  /** Milliseconds after which a connection is drained, a tenth more or less. Default: never. */
  maxAge?: number;
  /** Milliseconds that its streams have from then on. Default: until they end. */
  maxAgeGrace?: number;
  /** Answers of more bytes than this that a peer takes nothing of, for `stallTimeout`, cost it the connection. Default 16 MiB. */
  stallBytes?: number;
  /** Milliseconds. Default 60 000. */
  stallTimeout?: number;
  /** Milliseconds that a connection which has ended has to take the last frames. Default 5 000. */
  lingerTimeout?: number;
}

/** A connection as its guard sees it. */
export interface Guarded {
  readonly connection: {
    readonly ended: boolean;
    /** Its first frame or head has come. */
    readonly greeted: boolean;
    readonly streams: number;
    /** Changes with each that comes: most are over before the next look. */
    readonly latest: number;
    /** Bytes that wait for the peer. */
    readonly backlog: number;
    /** Changes whenever the peer takes of them. */
    readonly progress: number;
    drain(): void;
    close(error: Http2Error): void;
  };
  terminate(): void;
}

interface Record {
  readonly since: number;
  /** When it is drained for its age. */
  readonly oldAt: number;
  idleSince: number;
  latest: number;
  leaving: boolean;
  progress: number;
  progressAt: number;
  endedAt: number | undefined;
}

export class Patrol {
  readonly #limits: ConnectionLimits;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #records = new Map<Guarded, Record>();

  /** @param now milliseconds @param random from 0 to 1, so that connections don't all leave at once */
  constructor(limits: ConnectionLimits, now: () => number, random: () => number) {
    this.#limits = limits;
    this.#now = now;
    this.#random = random;
  }

  /** Milliseconds between two sweeps that notice everything in time. */
  get interval(): number {
    const { handshakeTimeout, maxIdle, maxAge, maxAgeGrace, stallTimeout, lingerTimeout } = this.#limits;
    const shortest = Math.min(
      ...[handshakeTimeout, maxIdle, maxAge, maxAgeGrace, stallTimeout, lingerTimeout, 60_000].filter((t) => t !== undefined),
    );
    return Math.max(5, shortest / 4);
  }

  get size(): number {
    return this.#records.size;
  }

  watch(guarded: Guarded): void {
    const now = this.#now();
    const oldAt = now + (this.#limits.maxAge ?? Number.POSITIVE_INFINITY) * (0.9 + 0.2 * this.#random());
    this.#records.set(guarded, {
      since: now,
      oldAt,
      idleSince: now,
      latest: 0,
      leaving: false,
      progress: 0,
      progressAt: now,
      endedAt: undefined,
    });
  }

  forget(guarded: Guarded): void {
    this.#records.delete(guarded);
  }

  sweep(): void {
    const now = this.#now();
    for (const [guarded, record] of this.#records) this.#look(guarded, record, now);
  }

  #look(guarded: Guarded, record: Record, now: number): void {
    const { handshakeTimeout = 120_000, maxIdle = Number.POSITIVE_INFINITY, maxAgeGrace = Number.POSITIVE_INFINITY } = this.#limits;
    const { connection } = guarded;
    if (connection.ended) {
      record.endedAt ??= now;
      if (now - record.endedAt >= (this.#limits.lingerTimeout ?? 5000)) guarded.terminate();
      return;
    }
    if (!connection.greeted) {
      if (now - record.since >= handshakeTimeout) end(guarded, "no request within the time for a handshake");
      return;
    }
    const { stallBytes = 16 * 1024 * 1024, stallTimeout = 60_000 } = this.#limits;
    if (connection.progress !== record.progress || connection.backlog <= stallBytes) {
      record.progress = connection.progress;
      record.progressAt = now;
    } else if (now - record.progressAt >= stallTimeout) return end(guarded, "the peer does not take its answers");
    if (connection.streams > 0 || connection.latest !== record.latest) record.idleSince = now;
    record.latest = connection.latest;
    const old = now >= record.oldAt;
    if (!record.leaving && (old || now - record.idleSince >= maxIdle)) {
      record.leaving = true;
      connection.drain();
    }
    if (old && now - record.oldAt >= maxAgeGrace) end(guarded, "the connection has reached its age");
  }
}

function end(guarded: Guarded, why: string): void {
  guarded.connection.close(new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, why));
  guarded.terminate();
}

/** A patrol that walks as long as there is somebody to look after. */
export class Rounds {
  readonly #patrol: Patrol;
  #timer: Timer | undefined;

  constructor(limits: ConnectionLimits) {
    this.#patrol = new Patrol(limits, () => performance.now(), Math.random);
  }

  watch(guarded: Guarded): void {
    this.#patrol.watch(guarded);
    if (this.#timer) return;
    this.#timer = setInterval(() => this.#patrol.sweep(), this.#patrol.interval);
    this.#timer.unref();
  }

  forget(guarded: Guarded): void {
    this.#patrol.forget(guarded);
    if (this.#patrol.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
