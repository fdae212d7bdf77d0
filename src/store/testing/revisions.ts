// Whether the revisions that clients were told order the store's writes as real
// time did, and whether reads and watches show that one order. The truth to
// compare with is the store's whole history, such as a watch from revision 1
// tells it once all is over.
import type { Value } from "./linearizability.ts";

/** One key as one revision left it. */
export interface Change {
  key: string;
  /** null: deleted. */
  value: Value;
  revision: number;
}

interface Call {
  client: number;
  /** By a clock that all clients share. */
  call: number;
  /** Infinity: no answer came. */
  return: number;
}

/** A put, a delete or a transaction. Values must be unique among all writes. */
export interface Write extends Call {
  /** What it does to keys, in the order of its operations. An answered write that changed nothing has none. */
  changes: { key: string; value: Value }[];
  /** The header's revision of the answer. */
  revision?: number;
}

/** An answered range. */
export interface Read extends Call {
  /** The range's keys. */
  includes: (key: string) => boolean;
  found: { key: string; value: string; modRevision: number }[];
  /** The header's revision of the answer. */
  revision: number;
  /** It may be late. */
  serializable?: boolean;
}

/** What one answer of a watch brought; without changes it tells progress. */
export interface Delivery {
  /** The header's revision. */
  revision: number;
  changes: Change[];
}

const MOST_TOLD = 20;

/** Throws an Error of all that is wrong, if there is anything. */
export function assertNone(what: string, violations: readonly string[]): void {
  if (violations.length === 0) return;
  const more = violations.length > MOST_TOLD ? [`and ${violations.length - MOST_TOLD} more`] : [];
  throw new Error(`${what}:\n${[...violations.slice(0, MOST_TOLD), ...more].map((v) => `  ${v}`).join("\n")}`);
}

const nameOf = (c: Call) => `client ${c.client} [${c.call}, ${c.return}]`;
const told = (changes: readonly { key: string; value: Value }[]) => changes.map((c) => `${c.key}=${c.value}`).join(" ");

/** What is wrong with revisions: one line for each finding. */
export function checkRevisions(history: readonly Change[], writes: readonly Write[], reads: readonly Read[]): string[] {
  const revisions = byRevision(history);
  return [
    ...checkHistory(history),
    ...matchWrites(revisions, writes).violations,
    ...checkRealTime(revisions, writes, reads),
    ...checkReads(history, reads),
  ];
}

function byRevision(history: readonly Change[]): Map<number, Change[]> {
  const revisions = new Map<number, Change[]>();
  for (const c of history) {
    const list = revisions.get(c.revision);
    if (list) list.push(c);
    else revisions.set(c.revision, [c]);
  }
  return revisions;
}

function checkHistory(history: readonly Change[]): string[] {
  const violations: string[] = [];
  const seen = new Set<string>();
  for (const [i, c] of history.entries()) {
    if (i > 0 && history[i - 1]!.revision > c.revision) violations.push(`the history has ${c.revision} after ${history[i - 1]!.revision}`);
    const id = `${c.revision} ${c.key}`;
    if (seen.has(id)) violations.push(`the history has key ${c.key} twice at revision ${c.revision}`);
    seen.add(id);
  }
  return violations;
}

/** Which write made which revision: an answered one that of its answer, another whichever is its doing alone. */
function matchWrites(revisions: ReadonlyMap<number, Change[]>, writes: readonly Write[]) {
  const violations: string[] = [];
  const owner = new Map<number, Write>();
  const unanswered = new Map<string, Write[]>();
  for (const w of writes) {
    if (w.revision === undefined) {
      const list = unanswered.get(told(w.changes)) ?? [];
      unanswered.set(told(w.changes), [...list, w]);
      continue;
    }
    if (w.changes.length === 0) continue;
    const other = owner.get(w.revision);
    if (other) violations.push(`${nameOf(w)} and ${nameOf(other)} were both told revision ${w.revision}`);
    owner.set(w.revision, w);
    const made = told(revisions.get(w.revision) ?? []);
    if (made !== told(w.changes))
      violations.push(`${nameOf(w)} was told revision ${w.revision} for ${told(w.changes)}, which has ${made || "nothing"}`);
  }
  for (const [revision, changes] of revisions) {
    if (owner.has(revision)) continue;
    const write = unanswered.get(told(changes))?.shift();
    if (write) owner.set(revision, write);
    else violations.push(`nobody asked for revision ${revision}: ${told(changes)}`);
  }
  return { violations, owner };
}

/** What began after an answer came must have a later revision; a read at least the same. */
function checkRealTime(revisions: ReadonlyMap<number, Change[]>, writes: readonly Write[], reads: readonly Read[]): string[] {
  interface Placed extends Call {
    revision: number;
    /** It made its revision. */
    made: boolean;
  }
  const { owner } = matchWrites(revisions, writes);
  const placed: Placed[] = [
    ...[...owner].map(([revision, w]) => ({ ...w, revision, made: true })),
    ...writes.filter((w) => w.revision !== undefined && w.changes.length === 0).map((w) => ({ ...w, revision: w.revision!, made: false })),
    ...reads.filter((r) => !r.serializable).map((r) => ({ ...r, made: false })),
  ];
  const byCall = placed.toSorted((a, b) => a.call - b.call);
  const byReturn = placed.toSorted((a, b) => a.return - b.return);
  const violations: string[] = [];
  let newest: Placed | undefined;
  let n = 0;
  for (const p of byCall) {
    for (; byReturn[n]!.return < p.call; n++) if (!newest || byReturn[n]!.revision > newest.revision) newest = byReturn[n];
    if (!newest || newest.revision < p.revision || (newest.revision === p.revision && !p.made)) continue;
    violations.push(`${nameOf(p)} has revision ${p.revision}, but began after ${nameOf(newest)} was told ${newest.revision}`);
  }
  return violations;
}

/** Each read must find what the history had at its revision. */
function checkReads(history: readonly Change[], reads: readonly Read[]): string[] {
  const violations: string[] = [];
  const state = new Map<string, Change>();
  const show = (list: { key: string; value: Value; revision: number }[]) =>
    list
      .map((c) => `${c.key}=${c.value}@${c.revision}`)
      .sort()
      .join(" ");
  let n = 0;
  for (const read of reads.toSorted((a, b) => a.revision - b.revision)) {
    for (; n < history.length && history[n]!.revision <= read.revision; n++) {
      const c = history[n]!;
      if (c.value === null) state.delete(c.key);
      else state.set(c.key, c);
    }
    const expected = show([...state.values()].filter((c) => read.includes(c.key)));
    const found = show(read.found.map((f) => ({ ...f, revision: f.modRevision })));
    if (expected === found) continue;
    violations.push(`${nameOf(read)} read at revision ${read.revision} ${found || "nothing"}; there was ${expected || "nothing"}`);
  }
  return violations;
}

export interface WatchSpan {
  /** The first revision that was asked for. */
  start: number;
  includes: (key: string) => boolean;
  /** What came, in order; of a watch that was resumed, of all its streams. */
  deliveries: readonly Delivery[];
  /** All up to this revision must have come. */
  through: number;
  /** Answers of a revision may be split. */
  fragments?: boolean;
}

/** What is wrong with a watch: gaps, duplicates, disorder, or a revision torn apart. */
export function checkWatch(history: readonly Change[], watch: WatchSpan): string[] {
  const violations: string[] = [];
  let last = watch.start - 1;
  let progress = 0;
  const came: Change[] = [];
  for (const d of watch.deliveries) {
    for (const [i, c] of d.changes.entries()) {
      const sameAnswer = i > 0 || watch.fragments;
      if (c.revision < last || (c.revision === last && !sameAnswer))
        violations.push(`revision ${c.revision} (${told([c])}) came after ${last}`);
      if (c.revision <= progress) violations.push(`revision ${c.revision} (${told([c])}) came after progress to ${progress}`);
      last = Math.max(last, c.revision);
      came.push(c);
    }
    if (d.changes.length === 0) progress = Math.max(progress, d.revision);
    else if (d.revision < last) violations.push(`an answer with revision ${last} has ${d.revision} in its header`);
  }
  const end = Math.max(last, watch.through);
  const expected = history.filter((c) => c.revision >= watch.start && c.revision <= end && watch.includes(c.key));
  const lines = (list: readonly Change[]) => list.map((c) => `${c.revision} ${told([c])}`);
  const [missing, extra] = [lines(expected), lines(came)];
  const had = new Map<string, number>();
  for (const l of extra) had.set(l, (had.get(l) ?? 0) + 1);
  for (const l of missing) {
    const n = had.get(l) ?? 0;
    if (n === 0) violations.push(`missed ${l}`);
    if (n > 1) violations.push(`had ${n} times ${l}`);
    had.delete(l);
  }
  for (const l of had.keys()) violations.push(`had ${l}, which never happened`);
  if (violations.length === 0 && missing.join("\n") !== extra.join("\n")) violations.push("changes of one revision came out of order");
  return violations;
}
