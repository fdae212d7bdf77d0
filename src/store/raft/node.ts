// What a member is, whatever its role: its term and vote, its log, the
// configuration in effect, and how roles follow each other.
import { Candidate } from "./candidate.ts";
import { changed, decodeConfChange, isVoter, membersOf } from "./configuration.ts";
import { Disk } from "./disk.ts";
import { Follower } from "./follower.ts";
import { Leader } from "./leader.ts";
import { Log } from "./log.ts";
import type { Message } from "./messages.ts";
import type { Options } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { outcome } from "./quorum.ts";
import type { RoleState } from "./role.ts";
import {
  type Configuration,
  type Entry,
  EntryType,
  type Read,
  type RefusedProposal,
  type SnapshotMeta,
  type StoredState,
} from "./types.ts";

export class Node {
  readonly id: bigint;
  readonly options: Options;
  readonly log: Log;
  readonly disk: Disk;
  readonly outbox: Outbox;
  term: number;
  vote: bigint;
  /** 0n while none is known. */
  leader = 0n;
  commit: number;
  /** What the state machine has taken. */
  applied: number;
  configuration: Configuration;
  role: RoleState;
  /** Ticks since the election timer was set, and at how many it fires. */
  elapsed = 0;
  timeout = 0;
  /**
   * When a leader spoke last, on this member's clock. Until an election timeout
   * has passed since, no other gets a vote: that is what a leader's lease stands
   * on. So a new term does not reset it, and a restarted member, which can't
   * know, counts from its start. Ticks would not do: they may come in a burst.
   */
  #heardAt: number;
  reads: Read[] = [];
  /** Proposals that were passed on in vain. */
  refused: RefusedProposal[] = [];
  #context: number;
  /** Up to where the others are known to know what is committed. */
  #toldUpTo = 0;
  /** Received, and to be installed. */
  snapshot: SnapshotMeta | undefined;
  /** Term, vote, or that a configuration is committed, is not what the disk was given. */
  unsaved = false;
  /** The write that has them. */
  #savedBy = 0;
  /** The configurations in effect from an index on, down to that of the base of the log. */
  #configurations: { index: number; configuration: Configuration }[];

  constructor(options: Options, stored: StoredState) {
    const { hardState, base, entries } = stored;
    this.id = options.id;
    this.options = options;
    // Then a crash came when a received snapshot was in place, and the log had not begun anew: it is an older leader's.
    const stale = entries.length > 0 && entries[0]!.term < base.term;
    this.log = new Log(base, stale ? [] : entries);
    this.disk = new Disk(this.log.last);
    this.outbox = new Outbox(this.disk);
    this.term = Math.max(hardState.term, this.log.lastTerm);
    this.vote = this.term === hardState.term ? hardState.vote : 0n;
    this.#heardAt = this.term > 1 ? options.clock() : Number.NEGATIVE_INFINITY;
    this.configuration = base.configuration;
    this.#configurations = [{ index: base.index, configuration: base.configuration }];
    this.commit = base.index;
    this.applied = stored.applied ?? base.index;
    this.role = new Follower(this);
    // Not where an earlier life began.
    this.#context = Math.floor(options.random() * 2 ** 48);
    this.commitTo(Math.min(Math.max(hardState.commit, this.applied), this.log.last));
    this.unsaved = false;
    this.#setTimer();
    // Nobody else could win, and nobody has to be asked.
    if (this.#isAlone) this.#become(this.term + 1, this.id, () => this.lead());
  }

  /** Sends when term and vote are on the disk, and a confirmation when what it confirms is. */
  send(message: Message): void {
    let write = this.unsaved ? this.disk.write + 1 : this.#savedBy;
    if (message.type === "appendResponse" && !message.rejected && message.index > this.disk.durable) {
      write = Math.max(write, this.log.last > this.disk.given ? this.disk.write + 1 : this.disk.write);
    }
    this.outbox.send(message, write);
  }

  /** Whether term, vote, and that the configuration is committed, are on the disk. */
  get isSaved(): boolean {
    return !this.unsaved && this.#savedBy <= this.disk.done;
  }

  /** Whether it is no member, and others know that for good: a leader that knows, or those whom this one led. */
  get isDismissed(): boolean {
    return this.#toldUpTo >= this.configuredAt && !membersOf(this.configuration).includes(this.id);
  }

  /** Others know what is committed up to here. */
  known(commit: number): void {
    this.#toldUpTo = Math.max(this.#toldUpTo, commit);
  }

  /** From where on the configuration is in effect. */
  get configuredAt(): number {
    return this.#configurations.at(-1)!.index;
  }

  /** The hard state goes to the disk with this write. */
  saved(write: number): void {
    if (!this.unsaved) return;
    this.unsaved = false;
    this.#savedBy = write;
  }

  /** A number of what is passed on that nothing before had. */
  nextContext(): number {
    return ++this.#context;
  }

  /** Becomes a follower, in this term or a newer one. */
  follow(term: number, leader: bigint): void {
    this.#become(term, term === this.term ? this.vote : 0n, () => {
      this.leader = leader;
      this.role = new Follower(this);
    });
  }

  /** Asks whether it would win, before it disturbs anybody with a new term; if the leader asked for it, it need not. */
  campaign(transfer = false): void {
    if (!isVoter(this.configuration, this.id)) {
      if (this.role.name !== "follower") this.follow(this.term, 0n);
    } else if (this.#isAlone) this.#become(this.term + 1, this.id, () => this.lead());
    else if (transfer) this.elect(true);
    else this.preElect();
  }

  /** Asks who would vote for it, in this term still. */
  preElect(): void {
    this.#become(this.term, this.vote, () => {
      this.role = new Candidate(this, "preVote", false);
    });
  }

  /** Asks for the votes of a new term. */
  elect(transfer: boolean): void {
    this.#become(this.term + 1, this.id, () => {
      this.role = new Candidate(this, "vote", transfer);
    });
  }

  lead(): void {
    this.leader = this.id;
    this.elapsed = 0;
    this.role = new Leader(this);
  }

  /** Milliseconds for which who hears from a leader gives no other a vote. */
  get promise(): number {
    return this.options.electionTicks * this.options.tickMillis;
  }

  /** Whether it leads, or has heard from a leader so lately that this one may hold a lease. */
  get isLed(): boolean {
    return this.role.name === "leader" || this.options.clock() - this.#heardAt < this.promise;
  }

  heardFrom(leader: bigint): void {
    this.leader = leader;
    this.#heardAt = this.options.clock();
    this.elapsed = 0;
  }

  commitTo(index: number): void {
    while (this.commit < index) {
      const entry = this.log.at(++this.commit);
      if (entry.type === EntryType.confChange) this.#configure(entry);
    }
  }

  /** Starts anew from a snapshot that was received. */
  restore(meta: SnapshotMeta): void {
    this.log.reset(meta);
    this.disk.replaced(1);
    this.commit = meta.index;
    this.snapshot = meta;
    this.#configurations = [];
    this.#inEffect(meta.index, meta.configuration);
  }

  compact(index: number): void {
    this.log.compact(Math.min(index, this.applied));
    const configurations = this.#configurations;
    while (configurations.length > 1 && configurations[1]!.index <= this.log.base.index) configurations.shift();
  }

  metaAt(index: number): SnapshotMeta | undefined {
    const term = this.log.termAt(index);
    const at = this.#configurations.findLast((c) => c.index <= index);
    if (term === undefined || !at || index > this.commit) return undefined;
    return { index, term, configuration: at.configuration };
  }

  /** Whether its own vote is a majority. */
  get #isAlone(): boolean {
    const { id, configuration } = this;
    return isVoter(configuration, id) && outcome(configuration, (other) => (other === id ? true : undefined)) === "won";
  }

  #become(term: number, vote: bigint, begin: () => void): void {
    if (term !== this.term || vote !== this.vote) this.unsaved = true;
    this.term = term;
    this.vote = vote;
    this.leader = 0n;
    this.#setTimer();
    begin();
  }

  setVote(candidate: bigint): void {
    if (this.vote !== candidate) this.unsaved = true;
    this.vote = candidate;
    this.elapsed = 0;
  }

  #setTimer(): void {
    const { electionTicks, random } = this.options;
    this.elapsed = 0;
    this.timeout = electionTicks + Math.floor(random() * electionTicks);
  }

  #configure(entry: Entry): void {
    // Who is removed may go for good once it hears of it, so nobody is told before this member can't forget it.
    this.unsaved = true;
    this.#inEffect(entry.index, changed(this.configuration, decodeConfChange(entry.data)));
  }

  #inEffect(index: number, configuration: Configuration): void {
    this.configuration = configuration;
    this.#configurations.push({ index, configuration });
    this.role.configured();
  }
}
