// Changes of the configuration, one after the other.
import { Refused } from "../mvcc/errors.ts";
import type { ConfChange, Position, RaftCore } from "../raft/types.ts";
import type { Deadlines } from "./deadlines.ts";

interface Shell {
  applied(): number;
  stopped(): boolean;
  /** Carries out what Raft was told to. */
  pump(): void;
}

export class Changes {
  readonly #raft: RaftCore;
  readonly #deadlines: Deadlines;
  readonly #shell: Shell;

  constructor(raft: RaftCore, deadlines: Deadlines, shell: Shell) {
    this.#raft = raft;
    this.#deadlines = deadlines;
    this.#shell = shell;
  }

  /** Resolves with where it stands once it is applied; rejects with Refused, or with what `make` throws. */
  async change(make: () => ConfChange): Promise<Position> {
    const since = performance.now();
    for (;;) {
      if (this.#shell.stopped()) throw new Refused("unavailable");
      // A change that was forwarded could not be told apart from another's.
      if (this.#raft.status.role !== "leader") throw new Refused("not-leader");
      const at = this.#propose(make);
      if (at) {
        await this.#deadlines.reached(at, since);
        return at;
      }
      // The next entry that is applied may end the change that is under way.
      await this.#deadlines.progress(since);
    }
  }

  /** Undefined while another change is under way, which the new one has to be made for: the state that it is made from must have it. */
  #propose(make: () => ConfChange): Position | undefined {
    const raft = this.#raft;
    if (raft.metaAt(this.#shell.applied())?.configuration !== raft.configuration) return undefined;
    const proposed = raft.proposeConfChange(make());
    this.#shell.pump();
    if ("at" in proposed) return proposed.at;
    if ("forwarded" in proposed || proposed.refused === "transferring") throw new Refused("not-leader");
    if (proposed.refused === "invalid-change") throw new Refused("unhealthy");
    return undefined;
  }
}
