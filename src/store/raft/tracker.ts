// The followers of a leader, as the configuration has them.
import { isLearner, membersOf } from "./configuration.ts";
import { Progress } from "./progress.ts";
import { agreed } from "./quorum.ts";
import type { Configuration, FollowerStatus } from "./types.ts";

export interface TrackerOptions {
  readonly id: bigint;
  readonly maxInflight: number;
  readonly maxInflightBytes: number;
}

export class Tracker {
  readonly #options: TrackerOptions;
  readonly #all = new Map<bigint, Progress>();
  #configuration: Configuration;

  constructor(options: TrackerOptions, configuration: Configuration, next: number) {
    this.#options = options;
    this.#configuration = configuration;
    this.configure(configuration, next);
  }

  get size(): number {
    return this.#all.size;
  }

  all(): Iterable<Progress> {
    return this.#all.values();
  }

  get(id: bigint): Progress | undefined {
    return this.#all.get(id);
  }

  /**
   * Follows another configuration.
   *
   * @param next what a new member is sent first
   * @returns those that are members no more
   */
  configure(configuration: Configuration, next: number): Progress[] {
    this.#configuration = configuration;
    const { id: self, maxInflight, maxInflightBytes } = this.#options;
    const members = new Set(membersOf(configuration));
    const gone = [...this.#all.values()].filter((p) => !members.has(p.id));
    for (const p of gone) this.#all.delete(p.id);
    for (const id of members) {
      if (id !== self && !this.#all.has(id)) this.#all.set(id, new Progress(id, next, maxInflight, maxInflightBytes));
    }
    return gone;
  }

  /** How far a majority has come, where this member itself is at `own`. */
  agreed(own: number, of: (p: Progress) => number): number {
    const { id: self } = this.#options;
    return agreed(this.#configuration, (id) => (id === self ? own : of(this.#all.get(id)!)));
  }

  /** Whether a majority was heard from since the last call. */
  checkQuorum(): boolean {
    const heard = this.agreed(1, (p) => (p.active ? 1 : 0)) >= 1;
    for (const p of this.#all.values()) {
      p.wasActive = p.active;
      p.active = false;
    }
    return heard;
  }

  /** The voter that has the most of the log. */
  mostAdvanced(): Progress | undefined {
    let best: Progress | undefined;
    for (const p of this.#all.values()) {
      if (this.#configuration.voters.includes(p.id) && (!best || p.match > best.match)) best = p;
    }
    return best;
  }

  status(): FollowerStatus[] {
    return [...this.#all.values()].map(({ id, state, match, next, active, wasActive }) => ({
      id,
      learner: isLearner(this.#configuration, id),
      state,
      match,
      next,
      active: active || wasActive,
    }));
  }
}
