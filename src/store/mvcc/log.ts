// What happened, revision by revision, since the last compaction: what watches
// from the past read. Every revision changed something, so the log is an array.
import type { Event } from "./types.ts";

export class EventLog {
  /** The revision of the first slot. */
  #first: number;
  /** A revision with one event, as most have, needs no array. */
  #slots: (Event | readonly Event[])[] = [];

  /** @param first the revision that comes first */
  constructor(first: number) {
    this.#first = first;
  }

  /** The oldest revision that is there, or would be next. */
  get first(): number {
    return this.#first;
  }

  /** The revision after the newest. */
  get next(): number {
    return this.#first + this.#slots.length;
  }

  push(events: readonly Event[]): void {
    this.#slots.push(events.length === 1 ? events[0]! : events);
  }

  /** Visits the events of one revision in order. */
  visit(revision: number, visit: (event: Event) => void): void {
    const slot = this.#slots[revision - this.#first];
    if (slot === undefined) return;
    if (isMany(slot)) for (const event of slot) visit(event);
    else visit(slot);
  }

  /** Forgets the revisions before this one. */
  trim(revision: number): void {
    const drop = Math.min(revision - this.#first, this.#slots.length);
    if (drop <= 0) return;
    this.#slots.splice(0, drop);
    this.#first += drop;
  }
}

const isMany = (slot: Event | readonly Event[]): slot is readonly Event[] => Array.isArray(slot);
