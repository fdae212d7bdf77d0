// Reads an etcd's backend into a state machine: the way in.
import { LeaseSchema } from "../../rpc/gen/etcd/lease_pb.ts";
import { fromBinary } from "../../rpc/protobuf.ts";
import type { BoltReader } from "../bolt/reader.ts";
import type { Version } from "../mvcc/types.ts";
import type { StateMachine } from "../state.ts";
import { readAuth } from "./auth.ts";
import { decodeKeyValue, decodeRevision } from "./record.ts";

const text = (b: Uint8Array) => new TextDecoder().decode(b);

/**
 * Fills an empty state machine from a backend. Alarms stay behind: they name
 * members of the cluster that was.
 *
 * @param now milliseconds, to date the leases
 * @param bump by how much the revision is raised; all before it then counts as compacted
 * @throws CorruptFile, or an Error that says what is wrong with a pair
 */
export function loadBackend(db: BoltReader, state: StateMachine, now: number, bump = 0): void {
  for (const { key, value } of db.pairs("lease")) {
    const { ID, TTL } = fromBinary(LeaseSchema, value);
    if (key.length !== 8) throw new Error("the bucket of leases has a key that is no id");
    state.lessor.grant(ID, Number(TTL), now);
  }
  loadVersions(db, state, compactRevisionOf(db), bump);
  state.auth.restore(readAuth(db));
}

/** The newest compaction, finished or only begun: an etcd that starts goes on with it. */
function compactRevisionOf(db: BoltReader): number {
  let newest = 0;
  for (const { key, value } of db.pairs("meta")) {
    if (text(key) !== "scheduledCompactRev" && text(key) !== "finishedCompactRev") continue;
    const revision = decodeRevision(value);
    if (!revision) throw new Error(`${text(key)} is no revision`);
    newest = Math.max(newest, revision.main);
  }
  return newest;
}

/** The versions of a backend in order of their revisions. Throws. */
export function* versionsOf(db: BoltReader): Generator<Version> {
  for (const { key, value } of db.pairs("key")) {
    const revision = decodeRevision(key);
    if (!revision) throw new Error("the bucket of pairs has a key that is no revision");
    // A restore that bumps the revision leaves a mark without a pair.
    if (value.length > 0) yield decodeKeyValue(revision, value);
  }
}

function loadVersions(db: BoltReader, state: StateMachine, scheduled: number, bump: number): void {
  // A gap between revisions comes from a restore that bumped them; nobody can have watched across it.
  let compacted = scheduled;
  let before = 0;
  for (const { modRevision } of versionsOf(db)) {
    if (modRevision > Math.max(before, compacted, 1) + 1) compacted = modRevision - 1;
    before = modRevision;
  }
  if (bump > 0) compacted = Math.max(before, compacted, 1) + bump;

  const pairs = new Map<string, Version>();
  let changedThen: Version[] = [];
  let open: Version[] = [];
  let restored = false;
  const restore = () => {
    if (restored) return;
    restored = true;
    const live = [...pairs].filter(([, v]) => v.version !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
    state.mvcc.restore(
      compacted,
      live.map(([, v]) => v),
      changedThen,
    );
    pairs.clear();
    changedThen = [];
  };
  const flush = () => {
    if (open.length > 0) state.mvcc.replay(open);
    open = [];
  };
  for (const v of versionsOf(db)) {
    if (v.modRevision <= compacted) {
      pairs.set(v.text, v);
      if (v.modRevision === compacted) changedThen.push(v);
      continue;
    }
    restore();
    if (open[0] && open[0].modRevision !== v.modRevision) flush();
    open.push(v);
  }
  restore();
  flush();
  const { revision } = state.mvcc;
  if (revision !== Math.max(1, before, compacted)) throw new Error(`revisions end at ${before}, but ${revision} of them are there`);
}
