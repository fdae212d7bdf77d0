import { ErrorCode, Http2Error } from "./errors.ts";

/** How often a client may send PING (grpc/grpc, doc/keepalive.md; grpc-go's EnforcementPolicy). */
export interface PingPolicy {
  /** Milliseconds between two pings. Default 300 000; etcd allows one in 5 000. */
  minInterval?: number;
  /** The same while no stream is open; otherwise one in two hours is taken. Default false. */
  withoutStreams?: boolean;
}

const WITHOUT_STREAMS = 7_200_000;
/** Pings too early that are overlooked since the last answer that was sent. */
const STRIKES = 2;

/** Counts the pings of a client that come too early. */
export class PingGuard {
  readonly #minInterval: number;
  readonly #withoutStreams: boolean;
  #last = Number.NEGATIVE_INFINITY;
  #strikes = 0;
  #sent = 0;

  constructor(policy: PingPolicy) {
    this.#minInterval = policy.minInterval ?? 300_000;
    this.#withoutStreams = policy.withoutStreams === true;
  }

  /**
   * Throws Http2Error with ENHANCE_YOUR_CALM.
   * @param now milliseconds
   * @param streams that are open
   * @param sent frames of answers so far: who measures the round trips of what comes does no harm
   */
  ping(now: number, streams: number, sent: number): void {
    const last = this.#last;
    this.#last = now;
    if (sent !== this.#sent) {
      this.#sent = sent;
      this.#strikes = 0;
      return;
    }
    const interval = streams === 0 && !this.#withoutStreams ? WITHOUT_STREAMS : this.#minInterval;
    if (now - last < interval && ++this.#strikes > STRIKES) throw new TooManyPings();
  }
}

export class TooManyPings extends Http2Error {
  /** What the client is told, to the letter: it asks less often then. */
  static readonly DEBUG = "too_many_pings";
  constructor() {
    super(ErrorCode.ENHANCE_YOUR_CALM, TooManyPings.DEBUG);
  }
}
