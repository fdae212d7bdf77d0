// Configurations, and how a conf change turns one into the next. Which is in
// effect is a function of the committed log: of its base, and the conf changes
// committed since.
import type { ConfChange, Configuration, MemberChange, SnapshotMeta, StoredState } from "./types.ts";

export const NOBODY: Configuration = { voters: [], outgoing: [], learners: [], learnersNext: [], autoLeave: false };

/** A position that members of a new cluster start at, so that only a member that knows nothing is at index 0. */
const BOOTSTRAP = { index: 1, term: 1 } as const;

/** The start of each member of a new cluster; all have to name the same voters. */
export function bootstrap(voters: readonly bigint[]): StoredState {
  const base: SnapshotMeta = { ...BOOTSTRAP, configuration: { ...NOBODY, voters: sorted(voters) } };
  return { hardState: { term: BOOTSTRAP.term, vote: 0n, commit: BOOTSTRAP.index }, base, entries: [] };
}

/** The start of a member that an existing cluster has added. */
export function joining(): StoredState {
  return { hardState: { term: 0, vote: 0n, commit: 0 }, base: { index: 0, term: 0, configuration: NOBODY }, entries: [] };
}

export const isJoint = (c: Configuration): boolean => c.outgoing.length > 0;

/** Whether a member has a vote; in a joint configuration, in either half. */
export const isVoter = (c: Configuration, id: bigint): boolean => c.voters.includes(id) || c.outgoing.includes(id);

export const isLearner = (c: Configuration, id: bigint): boolean => c.learners.includes(id);

/** Everybody who gets the log, each once. */
export const membersOf = (c: Configuration): bigint[] => sorted([...c.voters, ...c.outgoing, ...c.learners]);

/**
 * The configuration after a change.
 *
 * @throws RangeError for a change that this configuration can't take
 */
export function changed(before: Configuration, change: ConfChange): Configuration {
  if (change.changes.length === 0) return left(before);
  if (isJoint(before)) throw new RangeError("a joint change is under way");
  const voters = new Set(before.voters);
  const learners = new Set(before.learners);
  const learnersNext = new Set<bigint>();
  for (const { type, id } of change.changes) {
    if (id === 0n) throw new RangeError("0 is no member's id");
    learners.delete(id);
    learnersNext.delete(id);
    if (type === "addVoter") voters.add(id);
    else {
      voters.delete(id);
      if (type === "addLearner") learners.add(id);
    }
  }
  if (voters.size === 0) throw new RangeError("the last voter can't be removed");
  const joint = change.transition !== "auto" || !overlaps(before.voters, voters);
  if (!joint) return { ...NOBODY, voters: sorted(voters), learners: sorted(learners) };
  // Who still votes in the old half can't be a learner yet.
  for (const id of before.voters) if (learners.delete(id)) learnersNext.add(id);
  return {
    voters: sorted(voters),
    outgoing: before.voters,
    learners: sorted(learners),
    learnersNext: sorted(learnersNext),
    autoLeave: change.transition !== "explicit",
  };
}

function left(before: Configuration): Configuration {
  if (!isJoint(before)) throw new RangeError("no joint change is under way");
  return { ...NOBODY, voters: before.voters, learners: sorted([...before.learners, ...before.learnersNext]) };
}

/** Whether any majority of the one has a member of any majority of the other: they differ by one voter at most. */
function overlaps(before: readonly bigint[], after: ReadonlySet<bigint>): boolean {
  const kept = before.filter((id) => after.has(id)).length;
  return before.length - kept + (after.size - kept) <= 1;
}

const sorted = (ids: Iterable<bigint>): bigint[] => [...new Set(ids)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

const VERSION = 1;
const TYPES = ["addVoter", "addLearner", "remove"] as const;
const TRANSITIONS = ["auto", "joint", "explicit"] as const;
const HEAD = 4;
const CHANGE = 9;

/** The data of a conf change's entry: version, transition, number of changes (u16), each a type and an id (u64), then the context. */
export function encodeConfChange({ changes, transition, context }: ConfChange): Uint8Array {
  const bytes = new Uint8Array(HEAD + CHANGE * changes.length + context.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, TRANSITIONS.indexOf(transition));
  view.setUint16(2, changes.length, true);
  for (const [i, { type, id }] of changes.entries()) {
    view.setUint8(HEAD + CHANGE * i, TYPES.indexOf(type));
    view.setBigUint64(HEAD + CHANGE * i + 1, id, true);
  }
  bytes.set(context, HEAD + CHANGE * changes.length);
  return bytes;
}

/** Throws RangeError on bytes that no version up to this one wrote. */
export function decodeConfChange(data: Uint8Array): ConfChange {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (view.getUint8(0) !== VERSION) throw new RangeError(`a conf change has encoding ${view.getUint8(0)}, not ${VERSION}`);
  const count = view.getUint16(2, true);
  const changes = Array.from(
    { length: count },
    (_, i): MemberChange => ({
      type: named(TYPES, view.getUint8(HEAD + CHANGE * i)),
      id: view.getBigUint64(HEAD + CHANGE * i + 1, true),
    }),
  );
  return { changes, transition: named(TRANSITIONS, view.getUint8(1)), context: data.slice(HEAD + CHANGE * count) };
}

function named<const T extends readonly string[]>(names: T, code: number): T[number] {
  const name = names[code];
  if (name === undefined) throw new RangeError(`a conf change has an unknown code ${code}`);
  return name;
}
