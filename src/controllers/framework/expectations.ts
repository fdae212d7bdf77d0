// What a controller has done but not yet seen in its cache, so that it does not
// do it twice (k8s.io/kubernetes/pkg/controller, controller_utils.go).
import type { Clock } from "../../client/clock.ts";

/** A write whose event never came is forgotten after this many milliseconds. */
const lifetime = 300_000;

interface Expected {
  creations: number;
  deletions: Set<string>;
  since: number;
}

export class Expectations {
  readonly #clock: Clock;
  readonly #byKey = new Map<string, Expected>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Nothing is outstanding, or it has been for too long to wait on. */
  satisfied(key: string): boolean {
    const e = this.#byKey.get(key);
    return !e || (e.creations <= 0 && e.deletions.size === 0) || this.#clock.now() - e.since > lifetime;
  }

  expectCreations(key: string, n: number): void {
    this.expect(key, n, []);
  }

  expectDeletions(key: string, ids: Iterable<string>): void {
    this.expect(key, 0, ids);
  }

  /** `deletions` name each object so that its deletion counts once, however often it is seen. */
  expect(key: string, creations: number, deletions: Iterable<string>): void {
    this.#byKey.set(key, { creations, deletions: new Set(deletions), since: this.#clock.now() });
  }

  created(key: string, n = 1): void {
    const e = this.#byKey.get(key);
    if (e) e.creations -= n;
  }

  deleted(key: string, id: string): void {
    this.#byKey.get(key)?.deletions.delete(id);
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }
}
