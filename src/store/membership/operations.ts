// Changing who the members are: what is refused, and why, before it gets into
// the log (etcd's server/etcdserver/server.go). Only the leader decides, so that
// what it looks at is what the change will meet.
import { Refused } from "../mvcc/errors.ts";
import type { ConfChange, FollowerStatus } from "../raft/types.ts";
import { memberIdOf } from "./id.ts";
import { encodeContext, type Membership } from "./members.ts";

export interface MemberChange {
  readonly kind: "add" | "addLearner" | "promote" | "remove" | "update";
  readonly id: bigint;
  readonly peerUrls: readonly string[];
}

/** What the leader knows. */
export interface View {
  readonly membership: Membership;
  readonly own: bigint;
  readonly followers: readonly FollowerStatus[];
  /** The newest entry of the leader's log that it knows to be durable on a majority. */
  readonly committed: number;
  readonly connected: readonly bigint[];
  /** --initial-cluster-token */
  readonly token: string;
  readonly maxLearners: number;
  /** --strict-reconfig-check */
  readonly strict: boolean;
  /** Since the epoch. */
  readonly seconds: number;
}

const NOTHING = new Uint8Array(0);
/** How much of the leader's log a learner must have. */
const READY = 0.9;

/** A scheme in any case, and a host with a port: no path, query or fragment. */
const PEER_URL = /^(https?):\/\/([^/?#\s]+:\d+)$/i;

/**
 * The URLs as members keep them: without blanks around, and sorted.
 *
 * @throws Refused "bad-member-urls"
 */
export function peerUrlsOf(urls: readonly string[]): string[] {
  const good = urls.map((url) => {
    const [, scheme, host] = PEER_URL.exec(url.trim()) ?? [];
    if (!scheme || !URL.canParse(`${scheme}://${host}`)) throw new Refused("bad-member-urls");
    return `${scheme.toLowerCase()}://${host}`;
  });
  if (good.length === 0) throw new Refused("bad-member-urls");
  return good.sort();
}

/** @throws Refused "peer-url-exists" */
export function checkUnique(membership: Membership, urls: readonly string[], but = 0n): void {
  const taken = new Set(membership.members.filter((m) => m.id !== but).flatMap((m) => m.peerUrls));
  if (urls.some((url) => taken.has(url))) throw new Refused("peer-url-exists");
}

/**
 * The conf change that does it.
 *
 * @throws Refused
 */
export function confChangeOf(change: MemberChange, view: View): { id: bigint; change: ConfChange } {
  const { membership } = view;
  const { kind } = change;
  if (kind === "add" || kind === "addLearner") {
    const peerUrls = peerUrlsOf(change.peerUrls);
    const id = memberIdOf(peerUrls, view.token, view.seconds);
    if (kind === "add") checkCanAdd(view);
    if (membership.get(id)) throw new Refused("member-exists");
    checkUnique(membership, peerUrls);
    if (kind === "addLearner" && membership.configuration.learners.length >= view.maxLearners) throw new Refused("too-many-learners");
    const type = kind === "add" ? "addVoter" : "addLearner";
    return { id, change: { changes: [{ type, id }], transition: "auto", context: encodeContext({ name: "", peerUrls }) } };
  }
  const { id } = change;
  if (!membership.get(id)) throw new Refused("member-not-found");
  if (kind === "promote") {
    if (!membership.isLearner(id)) throw new Refused("member-not-learner");
    const learner = view.followers.find((f) => f.id === id);
    if (!learner?.active || learner.match < view.committed * READY) throw new Refused("learner-not-ready");
    checkCanAdd(view, 1);
    return { id, change: { changes: [{ type: "addVoter", id }], transition: "auto", context: NOTHING } };
  }
  if (kind === "remove") {
    if (!membership.isLearner(id)) checkCanRemove(view, id);
    return { id, change: { changes: [{ type: "remove", id }], transition: "auto", context: NOTHING } };
  }
  throw new RangeError(`${kind} is no conf change`);
}

const quorum = (voters: number) => Math.floor(voters / 2) + 1;

/** Voting members, and which of them have ever started. */
function voters({ membership }: View) {
  const ids = membership.configuration.voters;
  return { ids, started: ids.filter((id) => membership.get(id)?.name !== "") };
}

/** A further voter must not make a majority of members that never came; `here` are those of it that have, such as a learner. */
function checkCanAdd(view: View, here = 0): void {
  if (!view.strict) return;
  const { ids, started } = voters(view);
  // The second has to come after it was added.
  const second = started.length === 1 && ids.length === 1;
  if (!second && started.length + here < quorum(ids.length + 1)) throw new Refused("not-enough-started");
  if (ids.some((id) => !reachable(view, id))) throw new Refused("unhealthy");
}

function checkCanRemove(view: View, id: bigint): void {
  const { ids, started } = voters(view);
  if (ids.length === 1) throw new Refused("not-enough-started");
  if (!view.strict) return;
  const left = started.filter((s) => s !== id).length;
  if (left < quorum(ids.length - 1)) throw new Refused("not-enough-started");
  // One that is away takes part in no majority that its removal could break.
  if (!reachable(view, id)) return;
  const active = ids.filter((v) => v !== id && reachable(view, v)).length;
  if (active < quorum(ids.length - 1)) throw new Refused("unhealthy");
}

const reachable = (view: View, id: bigint) =>
  id === view.own || (view.connected.includes(id) && view.followers.some((f) => f.id === id && f.active));
