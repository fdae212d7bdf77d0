// The consensus algorithm of one member (Ongaro and Ousterhout, "In Search of
// an Understandable Consensus Algorithm"), as events in and effects out.
// types.ts tells how it is driven.
import { encodeConfChange } from "./configuration.ts";
import { answerVote, isVoteRequest } from "./election.ts";
import { Leader } from "./leader.ts";
import { bytesOf } from "./log.ts";
import type { Message } from "./messages.ts";
import { Node } from "./node.ts";
import { optionsOf } from "./options.ts";
import {
  type ConfChange,
  type Configuration,
  type Entry,
  EntryType,
  type FollowerStatus,
  type HardState,
  type Proposed,
  type RaftConfig,
  type RaftCore,
  type Read,
  type ReadMode,
  type Ready,
  type RefusedProposal,
  type SnapshotMeta,
  type Status,
  type StoredState,
} from "./types.ts";

const NO_ENTRIES: readonly Entry[] = [];
const NO_READS: readonly Read[] = [];
const NONE_REFUSED: readonly RefusedProposal[] = [];

export class Raft implements RaftCore {
  readonly #node: Node;
  /** Up to where committed entries were handed out. */
  #handed: number;
  #toldStatus: Status;
  #toldConfiguration: Configuration;
  #savedCommit: number;

  constructor(config: RaftConfig, stored: StoredState) {
    this.#node = new Node(optionsOf(config), stored);
    this.#handed = this.#node.applied;
    this.#savedCommit = stored.hardState.commit;
    this.#toldStatus = { role: "follower", term: stored.hardState.term, leader: 0n };
    this.#toldConfiguration = this.#node.configuration;
  }

  get id(): bigint {
    return this.#node.id;
  }

  get status(): Status {
    const { role, term, leader } = this.#node;
    return { role: role.name, term, leader };
  }

  get configuration(): Configuration {
    return this.#node.configuration;
  }

  get commit(): number {
    return this.#node.commit;
  }

  get lastIndex(): number {
    return this.#node.log.last;
  }

  get dismissed(): boolean {
    return this.#node.isDismissed;
  }

  get followers(): readonly FollowerStatus[] {
    return this.#leader?.tracker.status() ?? [];
  }

  tick(): void {
    this.#node.role.tick();
  }

  step(m: Message): void {
    const node = this.#node;
    // What is passed on to a leader, and its answers, are of no term.
    if (m.type === "readIndexResponse") node.reads.push({ context: m.context, index: m.index });
    else if (m.type === "proposeRefused") node.refused.push({ context: m.context, refusal: m.refusal });
    else if (m.term === 0) node.role.passedOn(m);
    else if (isVoteRequest(m)) answerVote(node, m);
    else if (m.term < node.term) this.#answerOutdated(m);
    else {
      // A promise to vote names the term that the election would have; all else says that it has begun.
      if (m.term > node.term && !(m.type === "preVoteResponse" && m.granted)) {
        node.follow(m.term, isFromLeader(m) ? m.from : 0n);
      }
      node.role.step(m);
    }
  }

  propose(datas: readonly Uint8Array[]): Proposed {
    return this.#node.role.propose(EntryType.normal, datas);
  }

  proposeConfChange(change: ConfChange): Proposed {
    return this.#node.role.propose(EntryType.confChange, [encodeConfChange(change)]);
  }

  readIndex(context: number, mode: ReadMode): boolean {
    return this.#node.role.readIndex(context, mode);
  }

  transferLeader(target: bigint): boolean {
    return this.#node.role.transferLeader(target);
  }

  campaign(): void {
    // Its own vote is bound by what it promised the leader, too.
    if (!this.#node.isLed) this.#node.campaign();
  }

  reportUnreachable(id: bigint): void {
    this.#leader?.reportUnreachable(id);
  }

  reportSnapshot(id: bigint, ok: boolean): void {
    this.#leader?.reportSnapshot(id, ok);
  }

  durable(write: number): void {
    const node = this.#node;
    node.disk.finish(write);
    node.outbox.release();
    node.role.durable();
  }

  appliedTo(index: number): void {
    const node = this.#node;
    if (index > this.#handed) throw new RangeError(`entry ${index} can't be applied, those up to ${this.#handed} were handed out`);
    node.applied = Math.max(node.applied, index);
    this.#trim();
  }

  compact(index: number): void {
    this.#node.compact(index);
  }

  metaAt(index: number): SnapshotMeta | undefined {
    return this.#node.metaAt(index);
  }

  retract(from: number): boolean {
    return this.#leader?.retract(from) ?? false;
  }

  ready(): Ready | undefined {
    const node = this.#node;
    node.role.flush();
    const { snapshot } = node;
    node.snapshot = undefined;
    const entries = this.#unwritten();
    const hardState = this.#unsaved(entries.length > 0 || snapshot !== undefined);
    let write: number | undefined;
    if (hardState || entries.length > 0 || snapshot) {
      write = node.disk.give(node.log.last);
      node.saved(write);
    }
    const messages = node.outbox.take();
    const committed = this.#committed(snapshot);
    const reads = node.reads.length > 0 ? node.reads : NO_READS;
    if (reads.length > 0) node.reads = [];
    const refused = node.refused.length > 0 ? node.refused : NONE_REFUSED;
    if (refused.length > 0) node.refused = [];
    const status = this.#newStatus();
    const configuration = node.configuration === this.#toldConfiguration ? undefined : node.configuration;
    this.#toldConfiguration = node.configuration;
    const effects = messages.length + committed.length + reads.length + refused.length;
    const something = write !== undefined || effects > 0 || status || configuration;
    return something ? { messages, write, snapshot, hardState, entries, committed, reads, refused, status, configuration } : undefined;
  }

  get #leader(): Leader | undefined {
    const { role } = this.#node;
    return role instanceof Leader ? role : undefined;
  }

  #unwritten(): readonly Entry[] {
    const { log, disk } = this.#node;
    const from = Math.max(disk.given, log.base.index) + 1;
    return from <= log.last ? log.slice(from, log.last) : NO_ENTRIES;
  }

  /** A commit index alone is not worth a write, but goes along with one: who holds a conf change has to know that the one before is committed. */
  #unsaved(writes: boolean): HardState | undefined {
    const { term, vote, commit, unsaved } = this.#node;
    if (!unsaved && !(writes && commit !== this.#savedCommit)) return undefined;
    this.#savedCommit = commit;
    return { term, vote, commit };
  }

  #committed(snapshot: SnapshotMeta | undefined): readonly Entry[] {
    const { log, commit, disk, isSaved, configuredAt } = this.#node;
    if (snapshot) this.#handed = snapshot.index;
    let to = Math.min(commit, disk.durable);
    // Whoever sees a change applied may rely on it, such as by shutting down the member that it removes.
    if (!isSaved && configuredAt > this.#handed) to = Math.min(to, configuredAt - 1);
    if (to <= this.#handed) return NO_ENTRIES;
    const entries = log.slice(this.#handed + 1, to);
    this.#handed = to;
    return entries;
  }

  #newStatus(): Status | undefined {
    const { role, term, leader } = this.#node;
    const told = this.#toldStatus;
    if (told.term === term && told.leader === leader && told.role === role.name) return undefined;
    this.#toldStatus = this.status;
    return this.#toldStatus;
  }

  /** A leader of an older term that has not heard learns from any answer; without one, a member that is ahead could never be followed. */
  #answerOutdated(m: Message): void {
    const { id, term } = this.#node;
    if (!isFromLeader(m)) return;
    this.#node.send({ type: "heartbeatResponse", from: id, to: m.from, term, round: 0, sentAt: 0, promise: 0 });
  }

  /** Drops applied entries that nobody is likely to ask for. */
  #trim(): void {
    const { log, applied, options, configuration } = this.#node;
    const leader = this.#leader;
    const followed = leader ? leader.tracker.size > 0 : configuration.voters.length !== 1 || configuration.learners.length > 0;
    if (!followed) {
      this.#node.compact(applied);
      return;
    }
    let to = Math.min(applied - options.catchUpEntries, (leader?.neededFrom() ?? Infinity) - 1);
    if (log.bytes > options.catchUpBytes) {
      // More than is due, so that it is not done again for each entry.
      let bytes = log.bytes - options.catchUpBytes * 0.75;
      for (let i = log.base.index + 1; i <= applied && bytes > 0; i++) {
        bytes -= bytesOf(log.at(i));
        to = Math.max(to, i);
      }
    } else if (to - log.base.index < options.catchUpEntries / 4) return;
    this.#node.compact(to);
  }
}

const isFromLeader = (m: Message): boolean => m.type === "append" || m.type === "heartbeat" || m.type === "snapshot";
