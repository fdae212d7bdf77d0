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

  /** Called with every event of the cache. `gone` when the object was deleted. */
  saw(group: string, object: KubeObject, gone = false): void {
    const entries = this.#groups.get(group);
    const uid = object.metadata.uid ?? "";
    const entry = entries?.get(uid);
    if (!entry) return;
    if (gone || (entry.version !== undefined && compareVersions(object.metadata.resourceVersion ?? "", entry.version) >= 0))
      entries!.delete(uid);
    if (entries!.size === 0) this.#groups.delete(group);
  }

  /** Milliseconds until the cache is trusted again anyway; undefined when it shows all. */
  behind(group: string): number | undefined {
    const entries = this.#groups.get(group);
    if (!entries) return undefined;
    let left = 0;
    for (const [uid, e] of entries) {
      const remaining = e.since + patience - this.#clock.now();
      if (remaining <= 0) entries.delete(uid);
      else left = Math.max(left, remaining);
    }
    return left > 0 ? left : undefined;
  }

  forget(group: string): void {
    this.#groups.delete(group);
  }
}
