// When a member that was removed may go. The others may not know yet that they
// can do without it, and need its vote or its log to find that out
// (raft/types.ts): so it stays until Raft says that it may go, or each of them
// that it knows of its removal; and not for ever, for they may be gone too.
export interface Remaining {
  /** The members without this one. */
  others(): readonly bigint[];
  /** Asks one of them whether it knows; `refused` tells that it does. */
  ask(id: bigint): void;
}

/** Election timeouts for which a member that was removed stays at the most. */
export const FAREWELL = 10;
/** Milliseconds between two questions to who has not said that it knows. */
const ASK = 200;

export class Departure {
  readonly #remaining: Remaining;
  readonly #know = new Set<bigint>();
  readonly #asking: ReturnType<typeof setInterval>;
  readonly #patience: ReturnType<typeof setTimeout>;
  readonly #over = Promise.withResolvers<void>();

  /** @param patience milliseconds after which it goes in any case */
  constructor(remaining: Remaining, patience: number) {
    this.#remaining = remaining;
    this.#asking = setInterval(() => this.#ask(), ASK);
    this.#patience = setTimeout(() => this.end(), patience);
  }

  /** Resolves when it may go. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** A member knows of the removal, and listens no more. */
  refused(by: bigint): void {
    this.#know.add(by);
    if (this.#remaining.others().every((id) => this.#know.has(id))) this.end();
  }

  /** It goes now. Idempotent. */
  end(): void {
    clearInterval(this.#asking);
    clearTimeout(this.#patience);
    this.#over.resolve();
  }

  #ask(): void {
    for (const id of this.#remaining.others()) if (!this.#know.has(id)) this.#remaining.ask(id);
  }
}
