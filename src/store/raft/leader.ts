// Takes proposals, brings the followers' logs to agree with its own, and
// commits what a majority holds.
import { changed, decodeConfChange, encodeConfChange, isJoint, isVoter } from "./configuration.ts";
import { bytesOf } from "./log.ts";
import type { AppendResponse, HeartbeatResponse, Message } from "./messages.ts";
import type { Node } from "./node.ts";
import type { Progress } from "./progress.ts";
import { type ReadRequest, Reads } from "./reads.ts";
import { Replication } from "./replication.ts";
import { type ProposalKind, RoleState } from "./role.ts";
import { Tracker } from "./tracker.ts";
import { EntryType, type Proposed, type ReadMode, type Role } from "./types.ts";

const NO_DATA = new Uint8Array(0);
/** What ends a joint configuration. */
const LEAVE = encodeConfChange({ changes: [], transition: "auto", context: NO_DATA });

export class Leader extends RoleState {
  readonly name: Role = "leader";
  readonly tracker: Tracker;
  readonly #replication: Replication;
  readonly #reads = new Reads();
  /** The last entry that may be a conf change: another is taken when it is committed. */
  #lastConfChange: number;
  /** Bytes of entries that are not committed. */
  #uncommitted = 0;
  #sinceHeartbeat = 0;
  /** To whom leadership is being handed, 0n if to nobody. */
  #transferee = 0n;
  /**
   * The entry that ends a leadership without a vote. Who has it durably has with
   * it that the change before is committed: once a majority does, it can go on alone.
   */
  #farewell: number | undefined;
  /** Once somebody was told to campaign at any time, what the others promised protects no reads any more. */
  #leaseGiven = false;

  constructor(node: Node) {
    super(node);
    this.tracker = new Tracker(node.options, node.configuration, node.log.last + 1);
    this.#replication = new Replication(node);
    this.#lastConfChange = node.log.last;
    for (let i = node.commit + 1; i <= node.log.last; i++) this.#uncommitted += bytesOf(node.log.at(i));
    // Entries of earlier terms are committed along with one of its own (section 5.4.2 of the Raft paper).
    this.#append(EntryType.empty, NO_DATA);
    if (!isVoter(node.configuration, node.id)) this.#farewell = node.log.last;
  }

  override tick(): void {
    const { node } = this;
    const { electionTicks, heartbeatTicks } = node.options;
    if (++node.elapsed >= electionTicks) {
      node.elapsed = 0;
      this.#transferee = 0n;
      if (!this.tracker.checkQuorum()) {
        node.follow(node.term, 0n);
        return;
      }
    }
    if (++this.#sinceHeartbeat >= heartbeatTicks) this.#heartbeat();
  }

  step(m: Message): void {
    const follower = this.tracker.get(m.from);
    if (follower && m.term === this.node.term) follower.active = true;
    switch (m.type) {
      case "appendResponse":
        if (follower) this.#appended(follower, m);
        break;
      case "heartbeatResponse":
        if (follower) this.#answered(follower, m);
    }
  }

  override passedOn(m: Message): void {
    switch (m.type) {
      case "propose": {
        const proposed = this.propose(m.kind, m.datas);
        if ("refused" in proposed) this.refuse(m, proposed.refused);
        break;
      }
      case "readIndex":
        this.#read(m);
        break;
      case "transferLeader":
        this.transferLeader(m.target);
    }
  }

  override propose(kind: ProposalKind, datas: readonly Uint8Array[]): Proposed {
    const { log, options, term } = this.node;
    if (this.#transferee !== 0n) return { refused: "transferring" };
    if (kind === EntryType.confChange) {
      const refused = this.#refuseChange(datas);
      if (refused) return { refused };
    }
    let bytes = 0;
    for (const data of datas) bytes += data.length;
    // One proposal is taken however large, or it never would be.
    if (this.#uncommitted > 0 && this.#uncommitted + bytes > options.maxUncommittedBytes) return { refused: "too-much-uncommitted" };
    const at = { index: log.last + 1, term };
    for (const data of datas) this.#append(kind, data);
    return { at };
  }

  override readIndex(context: number, mode: ReadMode): boolean {
    this.#read({ from: this.node.id, context, mode });
    return true;
  }

  override transferLeader(target: bigint): boolean {
    const { node } = this;
    if (target === node.id) {
      this.#transferee = 0n;
      return true;
    }
    const follower = this.tracker.get(target);
    if (!follower || !node.configuration.voters.includes(target)) return false;
    if (this.#transferee === target) return true;
    this.#transferee = target;
    // It has an election timeout to get there.
    node.elapsed = 0;
    this.#handOver(follower);
    return true;
  }

  override durable(): void {
    this.#advance();
  }

  override configured(): void {
    const { node, tracker } = this;
    for (const gone of tracker.configure(node.configuration, node.log.last + 1)) this.#replication.dismiss(gone);
    if (this.#transferee !== 0n && !node.configuration.voters.includes(this.#transferee)) this.#transferee = 0n;
    this.#farewell = undefined;
    if (isVoter(node.configuration, node.id)) return;
    this.#append(EntryType.empty, NO_DATA);
    this.#farewell = node.log.last;
  }

  override flush(): void {
    if (this.#reads.due && this.#hasCommittedInTerm) {
      this.#reads.startRound(this.node.commit);
      this.#heartbeat();
      this.#confirmReads();
    }
    for (const p of this.tracker.all()) this.#replication.send(p);
    if (this.#farewell !== undefined && this.node.commit >= this.#farewell) this.#abdicate();
  }

  /**
   * Takes back entries that were never durable nor sent. False if somebody may have them.
   */
  retract(from: number): boolean {
    const { node } = this;
    const { log, disk, term } = node;
    if (this.tracker.size > 0 || from <= node.commit || from <= disk.durable) return false;
    for (let i = from; i <= log.last; i++) this.#uncommitted -= bytesOf(log.at(i));
    if (from > log.last) return true;
    log.truncate(from);
    disk.replaced(from);
    // The write that failed may have been the one with the term.
    node.unsaved = true;
    this.#lastConfChange = Math.min(this.#lastConfChange, log.last);
    if (log.lastTerm !== term) this.#append(EntryType.empty, NO_DATA);
    return true;
  }

  /** The first entry that some follower still needs and is likely to get. */
  neededFrom(): number {
    let from = Infinity;
    for (const p of this.tracker.all()) {
      if (p.state === "snapshot") from = Math.min(from, p.pendingSnapshot + 1);
      else if (p.active) from = Math.min(from, p.match + 1);
    }
    return from;
  }

  reportUnreachable(id: bigint): void {
    const p = this.tracker.get(id);
    // What is under way is likely lost.
    if (p?.state === "replicate") p.probe(p.match + 1);
  }

  reportSnapshot(id: bigint, ok: boolean): void {
    const p = this.tracker.get(id);
    if (p?.state !== "snapshot") return;
    p.probe(ok ? Math.max(p.match, p.pendingSnapshot) + 1 : p.match + 1);
    // Its own confirmation, or its next heartbeat, tells when to go on.
    p.probing = true;
  }

  get #hasCommittedInTerm(): boolean {
    return this.node.log.termAt(this.node.commit) === this.node.term;
  }

  #append(type: EntryType, data: Uint8Array): void {
    const { log, term } = this.node;
    const entry = { index: log.last + 1, term, type, data };
    log.append(entry);
    this.#uncommitted += bytesOf(entry);
    if (type === EntryType.confChange) this.#lastConfChange = entry.index;
  }

  #refuseChange(datas: readonly Uint8Array[]): "change-pending" | "invalid-change" | undefined {
    const { commit, configuration } = this.node;
    if (commit < this.#lastConfChange || !this.#hasCommittedInTerm) return "change-pending";
    // It goes soon. Those it leads do not count it, nor ask it, and could not find out that a further change is committed if it fell.
    if (this.#farewell !== undefined) return "change-pending";
    if (datas.length !== 1) return "invalid-change";
    try {
      const change = decodeConfChange(datas[0]!);
      if (isJoint(configuration) && change.changes.length > 0) return "change-pending";
      changed(configuration, change);
      return undefined;
    } catch (error) {
      if (error instanceof RangeError) return "invalid-change";
      throw error;
    }
  }

  #appended(p: Progress, m: AppendResponse): void {
    if (m.rejected) {
      p.rejected(m.index, this.node.log.lastAgreeing(m.hintIndex, m.hintTerm).index);
      return;
    }
    const news = p.acknowledged(m.index);
    if (p.state === "probe") p.replicate();
    // It may have got the state from somewhere else, or an older snapshot that will do.
    else if (p.state === "snapshot" && p.match >= this.node.log.base.index) p.replicate();
    if (news) this.#advance();
    if (p.id === this.#transferee) this.#handOver(p);
  }

  #answered(p: Progress, m: HeartbeatResponse): void {
    p.probing = false;
    p.nudge = p.match < this.node.log.last;
    p.promisedUntil = Math.max(p.promisedUntil, m.sentAt + m.promise * (1 - this.node.options.maxClockDrift));
    p.round = Math.max(p.round, m.round);
    this.#confirmReads();
  }

  /** Commits what a majority holds durably, if that is of this term (figure 8 of the Raft paper). */
  #advance(): void {
    const { node } = this;
    const { log, disk } = node;
    for (;;) {
      const index = this.tracker.agreed(disk.durable, (p) => p.match);
      if (index <= node.commit || log.termAt(index) !== node.term) break;
      for (let i = node.commit + 1; i <= index; i++) this.#uncommitted -= bytesOf(log.at(i));
      node.commitTo(index);
    }
    const { configuration } = node;
    if (configuration.autoLeave && isJoint(configuration) && node.commit >= this.#lastConfChange && this.#hasCommittedInTerm) {
      this.#append(EntryType.confChange, LEAVE);
    }
  }

  #heartbeat(): void {
    this.#sinceHeartbeat = 0;
    const { id, term, commit, options } = this.node;
    const sentAt = options.clock();
    const { round } = this.#reads;
    for (const p of this.tracker.all()) {
      this.node.send({ type: "heartbeat", from: id, to: p.id, term, commit: Math.min(commit, p.match), round, sentAt });
    }
  }

  #read({ from, context, mode }: ReadRequest): void {
    if (mode === "lease" && this.#hasCommittedInTerm && this.#holdsLease) this.#answer({ from, context, mode }, this.node.commit);
    else this.#reads.add({ from, context, mode });
  }

  get #holdsLease(): boolean {
    // Without a vote it has no part in what keeps others from leading: the last voter does so at once, when it starts.
    if (this.#leaseGiven || this.#farewell !== undefined) return false;
    return this.node.options.clock() < this.tracker.agreed(Infinity, (p) => p.promisedUntil);
  }

  #confirmReads(): void {
    const round = this.tracker.agreed(Infinity, (p) => p.round);
    const confirmed = this.#reads.confirmed(round);
    if (confirmed) for (const request of confirmed.requests) this.#answer(request, confirmed.index);
  }

  #answer({ from, context }: ReadRequest, index: number): void {
    const { node } = this;
    if (from === node.id) node.reads.push({ context, index });
    else node.send({ type: "readIndexResponse", from: node.id, to: from, term: 0, context, index });
  }

  #handOver({ id: to, match }: Progress): void {
    const { id, term, log } = this.node;
    if (match < log.last) return;
    this.#leaseGiven = true;
    this.node.send({ type: "timeoutNow", from: id, to, term });
  }

  /** A leader that a change left without a vote lets the best of the others go on at once. */
  #abdicate(): void {
    this.node.known(this.node.commit);
    const successor = this.tracker.mostAdvanced();
    if (successor) this.node.send({ type: "timeoutNow", from: this.node.id, to: successor.id, term: this.node.term });
    this.node.follow(this.node.term, 0n);
  }
}
