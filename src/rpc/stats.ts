import { Code } from "./types.ts";

const CODES = Object.values(Code).filter((c) => typeof c === "number").length;

/** What a server counts of a method: plain fields, for it is done at every call. */
export class MethodStats {
  started = 0;
  /** Calls that ended, by code. */
  readonly handled = new Float64Array(CODES);
  received = 0;
  sent = 0;
  /** Bytes of the messages, without what frames them. */
  receivedBytes = 0;
  sentBytes = 0;
  /** How long calls took, where that is asked for. */
  readonly times: CallTimes | undefined;

  constructor(timed = false) {
    this.times = timed ? new CallTimes() : undefined;
  }
}

/** A histogram of calls by how long they took. */
export class CallTimes {
  /** In seconds; grpc-prometheus'. */
  static readonly BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
  /** Calls within each bound and over the one before; the last are over all. */
  readonly counts = new Float64Array(CallTimes.BOUNDS.length + 1);
  /** Seconds. */
  sum = 0;

  observe(seconds: number): void {
    let i = 0;
    while (i < CallTimes.BOUNDS.length && seconds > CallTimes.BOUNDS[i]!) i++;
    this.counts[i]!++;
    this.sum += seconds;
  }
}
