// What a snapshot says: the pairs as of the compacted revision, and every
// change since, so that a restored store can still be read and watched from
// the past.
import type { AuthDump } from "../auth/types.ts";
import type { Alarm } from "../command.ts";
import { fromPlain, plain } from "../membership/members.ts";
import type { KeyRecord } from "../mvcc/keyspace.ts";
import type { Version } from "../mvcc/types.ts";
import type { StateMachine } from "../state.ts";
import type { SnapshotId } from "./file.ts";
import { visitFlat } from "./flat.ts";
import { type Packed, Packer, unpack } from "./packed.ts";

/** Keys that are looked at for one chunk, whether or not they have a version in it. */
const CHUNK_KEYS = 2048;

interface Head {
  head: {
    compactRevision: number;
    revision: number;
    leases: [id: bigint | number, ttl: number][];
    alarms: { memberId: bigint | number; kind: Alarm["kind"] }[];
    /** Absent in those of versions before it. */
    auth?: AuthDump;
    membership?: ReturnType<typeof plain>;
    downgradeTarget?: string;
  };
}

/** Pairs and changes are lists in older formats. */
type Chunk = Head | { pairs: Packed } | { changes: Packed };

/**
 * The chunks of a snapshot of the state as it is now. They may be taken over
 * time, while more is applied, as long as nothing is pruned in between.
 */
export function snapshotOf(state: StateMachine): { id: SnapshotId; chunks: Iterable<Chunk> } {
  const { mvcc, lessor } = state;
  const head: Head = {
    head: {
      compactRevision: mvcc.compactRevision,
      revision: mvcc.revision,
      leases: [...lessor.all()].map((l) => [l.id, l.ttl]),
      alarms: state.alarms.map((a) => ({ ...a })),
      auth: state.auth.dump(),
      membership: plain(state.membership.state()),
      downgradeTarget: state.downgradeTarget,
    },
  };
  return { id: { index: state.index, term: state.term }, chunks: chunksOf(state, head) };
}

function* chunksOf(state: StateMachine, head: Head): Generator<Chunk> {
  yield head;
  const { compactRevision, revision } = head.head;
  const packer = new Packer();
  for (let start: string | undefined = ""; start !== undefined && compactRevision > 0; ) {
    let next: string | undefined;
    let seen = 0;
    state.mvcc.keys.scan({ start, end: undefined }, (record: KeyRecord, key) => {
      if (packer.full || seen++ >= CHUNK_KEYS) {
        next = key;
        return false;
      }
      const v = record.at(compactRevision);
      if (v) packer.add(v);
      return true;
    });
    start = next;
    if (!packer.empty) yield { pairs: packer.take() };
  }
  const change = ({ kv }: { kv: Version }) => packer.add(kv);
  for (let r = Math.max(state.mvcc.log.first, compactRevision); r <= revision; r++) {
    state.mvcc.log.visit(r, change);
    if (packer.full) yield { changes: packer.take() };
  }
  if (!packer.empty) yield { changes: packer.take() };
}

/** Collects the chunks of a snapshot and sets up a state machine from them. */
export class SnapshotLoader {
  readonly #state: StateMachine;
  readonly #id: SnapshotId;
  #head: Head["head"] | undefined;
  /** Changes of a revision that the next chunk may continue. */
  #revision: Version[] = [];
  #restored = false;

  constructor(state: StateMachine, id: SnapshotId) {
    this.#state = state;
    this.#id = id;
  }

  /** @param now milliseconds, to date the leases */
  add(chunk: unknown, now: number): void {
    const c = chunk as Partial<Head & { pairs: Packed | unknown[]; changes: Packed | unknown[] }>;
    if (c.head) {
      this.#head = c.head;
      this.#state.mvcc.restoreAt(c.head.compactRevision);
      for (const [id, ttl] of c.head.leases) this.#state.lessor.grant(BigInt(id), ttl, now);
      this.#state.restoreAlarms(c.head.alarms.map((a) => ({ memberId: BigInt.asUintN(64, BigInt(a.memberId)), kind: a.kind })));
      if (c.head.auth) this.#state.auth.restore(c.head.auth);
      this.#state.downgradeTarget = c.head.downgradeTarget ?? "";
      if (c.head.membership) this.#state.membership.restore(fromPlain(c.head.membership));
    } else if (c.pairs) visitVersions(c.pairs, (v) => this.#state.mvcc.restorePair(v));
    else if (c.changes) visitVersions(c.changes, (v) => this.#change(v));
    else throw new Error("a snapshot has a chunk of a kind that this version doesn't know");
  }

  finish(): void {
    if (!this.#head) throw new Error("a snapshot has no head");
    this.#flush();
    this.#restore([]);
    this.#state.index = this.#id.index;
    this.#state.term = this.#id.term;
    const { revision } = this.#state.mvcc;
    if (revision !== this.#head.revision) throw new Error(`a snapshot ends at revision ${revision}, not ${this.#head.revision} as it says`);
  }

  #change(v: Version): void {
    const open = this.#revision[0];
    if (open && open.modRevision !== v.modRevision) this.#flush();
    this.#revision.push(v);
  }

  #flush(): void {
    const changes = this.#revision;
    this.#revision = [];
    if (changes.length === 0) return;
    if (changes[0]!.modRevision === this.#head?.compactRevision) this.#restore(changes);
    else {
      this.#restore([]);
      this.#state.mvcc.replay(changes);
    }
  }

  #restore(changedThen: readonly Version[]): void {
    if (this.#restored) return;
    this.#restored = true;
    this.#state.mvcc.restoreChanges(changedThen);
  }
}

const visitVersions = (versions: Packed | readonly unknown[], visit: (version: Version) => void) =>
  Array.isArray(versions) ? visitFlat(versions, visit) : unpack(versions as Packed, visit);
