// A member's state as an etcd's backend file, taken while it goes on.
import type { BoltFile } from "../bolt/writer.ts";
import { boltFile } from "../bolt/writer.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";
import { collectVersions } from "./collect.ts";
import { bucketsOf, type Content, type MemberRecord } from "./content.ts";
import { inSlices } from "./slices.ts";

/**
 * All that the member has applied, as of now.
 *
 * @param self the member itself, where the state machine does not know its cluster
 */
export async function contentOf(member: Member, self: MemberRecord): Promise<Content> {
  using _hold = await member.holdHistory();
  const { state } = member;
  const { log } = state.mvcc;
  const members = state.membership.members.map((m) => ({ ...m, isLearner: state.membership.isLearner(m.id) }));
  const content = {
    members: members.length > 0 ? members : [self],
    index: state.index,
    term: state.term,
    compactRevision: state.mvcc.compactRevision,
    leases: [...state.lessor.all()].map(({ id, ttl }) => ({ id, ttl })),
    alarms: [...state.alarms],
    auth: state.auth.dump(),
    removedMembers: state.membership.state().removed,
    clusterVersion: state.clusterVersion,
    downgradeTarget: state.downgradeTarget,
  };
  const versions = await inSlices(collectVersions(state.mvcc));
  // A follower that installed a leader's snapshot meanwhile has another history now.
  if (state.mvcc.log !== log) throw new Refused("unavailable");
  return { ...content, versions };
}

/** The backend file of a member's state. */
export async function backupOf(member: Member, self: MemberRecord): Promise<BoltFile> {
  return await inSlices(boltFile(bucketsOf(await contentOf(member, self))));
}
