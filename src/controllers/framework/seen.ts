// Whether a cache already shows what was written (as upstream's EndpointSliceTracker).
import type { KubeObject } from "../../api/object.ts";
import type { Clock } from "../../client/clock.ts";

/** A write whose event does not come is no longer waited for after this many milliseconds. */
const patience = 10_000;

/** Orders resource versions, which are decimal numbers (KEP-5504). */
export function compareVersions(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** Remembers writes by group until the cache has caught up with them. */
export class Unseen {
  readonly #clock: Clock;
  /** By group: uid to the version written, or undefined for a deletion. */
  readonly #groups = new Map<string, Map<string, { version: string | undefined; since: number }>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wrote(group: string, object: KubeObject): void {
    this.#note(group, object.metadata.uid ?? "", object.metadata.resourceVersion);
  }

  deleted(group: string, object: KubeObject): void {
    this.#note(group, object.metadata.uid ?? "", undefined);
  }

  #note(group: string, uid: string, version: string | undefined): void {
    let entries = this.#groups.get(group);
    if (!entries) {
      entries = new Map();
      this.#groups.set(group, entries);
    }
    entries.set(uid, { version, since: this.#clock.now() });
  }

  /** An object is gone from the cache, whoever deleted it. */
  gone(group: string, object: KubeObject): void {
    this.#drop(group, object.metadata.uid ?? "");
  }

  #drop(group: string, uid: string): void {
    const entries = this.#groups.get(group);
    entries?.delete(uid);
    if (entries?.size === 0) this.#groups.delete(group);
  }

  /**
   * Milliseconds until the cache is trusted again anyway; undefined when it shows all.
   * @param cached The group's objects in the cache. It may have been ahead of the answer to a write.
   */
  behind(group: string, cached: readonly KubeObject[]): number | undefined {
    const entries = this.#groups.get(group);
    if (!entries) return undefined;
    const versions = new Map(cached.map((o) => [o.metadata.uid ?? "", o.metadata.resourceVersion ?? ""]));
    let left = 0;
    for (const [uid, { version, since }] of [...entries]) {
      const shown = versions.get(uid);
      const seen = version === undefined ? shown === undefined : shown !== undefined && compareVersions(shown, version) >= 0;
      const remaining = since + patience - this.#clock.now();
      if (seen || remaining <= 0) this.#drop(group, uid);
      else left = Math.max(left, remaining);
    }
    return left > 0 ? left : undefined;
  }

  forget(group: string): void {
    this.#groups.delete(group);
  }
}
