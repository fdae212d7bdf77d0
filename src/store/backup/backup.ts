// A member's state as an etcd's backend file, taken while it goes on.
import type { BoltFile } from "../bolt/writer.ts";
import { boltFile } from "../bolt/writer.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";
import { collectVersions } from "./collect.ts";
import { bucketsOf, type Content } from "./content.ts";

/** Runs work that comes in slices, and lets other work have its turn in between. */
async function inSlices<T>(work: Generator<void, T>): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/**
 * All that the member has applied, as of now.
 *
 * @param around what of the cluster the state machine does not hold
 */
export async function contentOf(member: Member, around: Pick<Content, "members" | "clusterVersion">): Promise<Content> {
  using _hold = await member.holdHistory();
  const { state } = member;
  const { log } = state.mvcc;
  const content = {
    ...around,
    index: state.index,
    term: state.term,
    compactRevision: state.mvcc.compactRevision,
    leases: [...state.lessor.all()].map(({ id, ttl }) => ({ id, ttl })),
    alarms: [...state.alarms],
    auth: state.auth.dump(),
    removedMembers: state.membership.state().removed,
    downgradeTarget: "",
  };
  const versions = await inSlices(collectVersions(state.mvcc));
  // A follower that installed a leader's snapshot meanwhile has another history now.
  if (state.mvcc.log !== log) throw new Refused("unavailable");
  return { ...content, versions };
}

/** The backend file of a member's state. */
export async function backupOf(member: Member, around: Pick<Content, "members" | "clusterVersion">): Promise<BoltFile> {
  return await inSlices(boltFile(bucketsOf(await contentOf(member, around))));
}
