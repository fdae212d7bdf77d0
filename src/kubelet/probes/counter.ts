export type ProbeResult = "success" | "failure";

export interface Thresholds {
  success: number;
  failure: number;
}

/**
 * Counts the outcomes of a probe that follow each other, and tells when there
 * are enough of a kind to change its result (upstream's prober worker).
 */
export class ProbeCounter {
  readonly #thresholds: Thresholds;
  #last: ProbeResult | undefined;
  #run = 0;
  #result: ProbeResult;

  constructor(thresholds: Thresholds, initial: ProbeResult) {
    this.#thresholds = thresholds;
    this.#result = initial;
  }

  get result(): ProbeResult {
    return this.#result;
  }

  /** Takes an outcome; true when it settled the result, changed or not. */
  record(outcome: ProbeResult): boolean {
    this.#run = this.#last === outcome ? this.#run + 1 : 1;
    this.#last = outcome;
    if (this.#run < this.#thresholds[outcome]) return false;
    this.#result = outcome;
    return true;
  }
}
