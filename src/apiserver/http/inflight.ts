// How many requests may be worked on at once (upstream's max-in-flight filter).
import { tooManyRequests } from "../../api/status.ts";

export class InFlight {
  readOnly = 0;
  mutating = 0;
  readonly #maxReadOnly: number;
  readonly #maxMutating: number;

  constructor(maxReadOnly = 400, maxMutating = 200) {
    this.#maxReadOnly = maxReadOnly;
    this.#maxMutating = maxMutating;
  }

  /** Takes a place, or throws 429. Returns what gives it back. */
  enter(isMutating: boolean): () => void {
    const kind = isMutating ? "mutating" : "readOnly";
    if (this[kind] >= (isMutating ? this.#maxMutating : this.#maxReadOnly))
      throw tooManyRequests("Too many requests, please try again later.", 1);
    this[kind]++;
    return () => {
      this[kind]--;
    };
  }
}
