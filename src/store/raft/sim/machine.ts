// A simulated process: the shell of one member around the real core and the
// store's real state machine, as consensus/driver.ts is.
import { decodeCommand } from "../../codec.ts";
import type { Command } from "../../command.ts";
import { Refused } from "../../mvcc/errors.ts";
import type { TxnRequest } from "../../mvcc/types.ts";
import { StateMachine } from "../../state.ts";
import { membersOf, NOBODY } from "../configuration.ts";
import { Raft } from "../raft.ts";
import {
  type ConfChange,
  type Configuration,
  type Entry,
  EntryType,
  type ReadMode,
  type Ready,
  type Status,
  type StoredState,
} from "../types.ts";
import { type Frame, type SavedState, SimDisk } from "./disk.ts";
import { Violation } from "./invariants.ts";
import type { Parcel } from "./network.ts";
import { type Answer, Requests, TAG, tagOf } from "./requests.ts";
import { load, save } from "./snapshots.ts";
import type { World } from "./world.ts";

/** Milliseconds after which a full disk is tried again. */
const DISK_RETRY = 30;

export class Machine {
  readonly id: bigint;
  readonly disk: SimDisk;
  readonly #world: World;
  /** How fast its clock runs, and where it started. */
  readonly #rate: number;
  readonly #offset: number;
  #raft: Raft | undefined;
  #state = new StateMachine();
  #epoch = 0;
  #stoppedUntil = 0;
  /** What came while the process was stopped. */
  #backlog: (() => void)[] = [];
  readonly #requests: Requests;
  /** The terms of its log, by index; below the base, a snapshot has it all. */
  #terms: number[] = [];
  #base = 0;
  #commit = 0;
  /** As of what is applied. */
  #configuration: Configuration;
  /** Snapshots received, by index, until Raft says what to do with them. */
  #received = new Map<number, SavedState>();
  /** Those being installed, by write. */
  readonly #installs = new Map<number, SavedState>();
  /** Is a member no more, and never starts again. */
  retired = false;

  constructor(world: World, id: bigint, stored: StoredState) {
    this.#world = world;
    this.id = id;
    this.disk = new SimDisk(world.random, world.schedule, stored, {
      synced: (write) => this.#input((raft) => this.#synced(raft, write)),
      failed: (frames, broken) => this.#input((raft) => this.#failed(raft, frames, broken)),
    });
    this.#requests = new Requests(id, world, (millis, run) => this.#after(millis, () => this.#input(run)));
    this.#rate = world.rate();
    this.#offset = world.random.between(0, 1e6);
    this.#configuration = stored.base.configuration;
  }

  get up(): boolean {
    return this.#raft !== undefined;
  }

  get raft(): Raft | undefined {
    return this.#raft;
  }

  get leads(): boolean {
    return this.#raft?.status.role === "leader";
  }

  get stopped(): boolean {
    return this.#world.schedule.now < this.#stoppedUntil;
  }

  get state(): StateMachine {
    return this.#state;
  }

  start(): void {
    if (this.retired) return;
    const { stored, snapshot } = this.disk.read();
    this.#world.trace(() => `${this.id} starts at ${stored.base.index}+${stored.entries.length}, term ${stored.hardState.term}`);
    this.#epoch++;
    this.#load(snapshot);
    const { random, options, observer } = this.#world;
    this.#raft = new Raft({ ...options, id: this.id, random: random.next, clock: () => this.#clock() }, stored);
    const entries = stored.entries.slice(0, Math.max(0, this.#raft.lastIndex - stored.base.index));
    this.#terms = [];
    this.#base = this.#commit = stored.base.index;
    for (const e of entries) this.#terms[e.index] = e.term;
    observer.appends(this.id, stored.base, entries);
    this.#configuration = stored.base.configuration;
    this.#input(() => {});
    this.#scheduleTick();
  }

  crash(): void {
    this.#world.trace(() => `${this.id} crashes`);
    this.#epoch++;
    this.#raft = undefined;
    this.disk.crash();
    this.#backlog = [];
    this.#stoppedUntil = 0;
    this.#requests.clear();
    this.#received.clear();
    this.#installs.clear();
  }

  /** As SIGSTOP does: nothing happens for a while, but time goes by. */
  stop(millis: number): void {
    const until = this.#world.schedule.now + millis;
    if (!this.#raft || until <= this.#stoppedUntil) return;
    this.#world.trace(() => `${this.id} is stopped for ${millis.toFixed(0)} ms`);
    this.#stoppedUntil = until;
    this.#after(millis, () => {
      if (this.stopped) return;
      const backlog = this.#world.random.shuffled(this.#backlog);
      this.#backlog = [];
      for (const run of backlog) run();
    });
  }

  /** Somebody saw that it is a member no more, and switches it off for good. */
  retire(): void {
    this.#world.trace(() => `${this.id} is switched off for good`);
    if (this.up) this.crash();
    this.retired = true;
  }

  /** Steps a message. */
  receive({ message, state }: Parcel): void {
    this.#input((raft) => {
      if (message.type === "snapshot" && state) this.#received.set(message.meta.index, state);
      raft.step(message);
    });
  }

  /** Proposes a command; the answer comes if it is applied here while this process lives. */
  propose(command: Command, answer: (answer: Answer) => void): void {
    this.#input((raft) => this.#requests.propose(raft, command, answer));
  }

  /** Answers a read when the state includes all that was committed when it was asked for. */
  read(txn: TxnRequest, mode: ReadMode, answer: (answer: Answer) => void): void {
    this.ask(
      mode,
      () => answer({ ok: this.#state.read(txn) }),
      (refused) => answer({ refused }),
    );
  }

  /** A read of nothing, which only has to be allowed. */
  ask(mode: ReadMode, done: () => void = () => {}, refuse: (why: string) => void = () => {}): void {
    const least = this.#world.observer.committed;
    this.#input((raft) => this.#requests.read(raft, mode, least, done, refuse));
  }

  change(change: ConfChange): void {
    this.#input((raft) => {
      const proposed = raft.proposeConfChange(change);
      const what = change.changes.map((c) => `${c.type} ${c.id}`).join(", ") || "leave";
      this.#world.trace(() => `${this.id} proposes to change members: ${what} (${change.transition}): ${JSON.stringify(proposed, idText)}`);
    });
  }

  transfer(target: bigint): void {
    this.#input((raft) => {
      const begun = raft.transferLeader(target);
      this.#world.trace(() => `${this.id} hands leadership to ${target}: ${begun}`);
    });
  }

  /** Timers fire that were held up. */
  burst(ticks: number): void {
    this.#input((raft) => this.#tick(raft, ticks));
  }

  #tick(raft: Raft, ticks: number): void {
    for (let i = 0; i < ticks; i++) raft.tick();
  }

  campaign(): void {
    this.#input((raft) => raft.campaign());
  }

  /** Saves the state as of now and lets go of the log before it. */
  snapshot(): void {
    this.#input((raft) => {
      const saved = save(this.#state, raft);
      if (!saved) return;
      this.#world.trace(() => `${this.id} takes a snapshot at ${saved.meta.index}`);
      this.disk.save(saved);
      raft.compact(saved.meta.index);
    });
  }

  #clock(): number {
    return this.#offset + this.#world.schedule.now * this.#rate;
  }

  /** Runs in this life of the process, or not at all. */
  #after(millis: number, run: () => void): void {
    const epoch = this.#epoch;
    this.#world.schedule.after(millis, () => {
      if (epoch === this.#epoch) run();
    });
  }

  #scheduleTick(): void {
    const { random, options } = this.#world;
    // Timers may be late, and make up for it, or for more than that.
    const late = random.chance(0.02) ? random.between(0, options.tickMillis) : 0;
    const ticks = random.chance(0.002) ? 1 + random.below(20) : 1;
    this.#after(options.tickMillis / this.#rate + late, () => {
      this.#input((raft) => {
        this.#tick(raft, ticks);
        this.#scheduleTick();
      });
    });
  }

  #input(run: (raft: Raft) => void): void {
    const epoch = this.#epoch;
    if (!this.#raft) return;
    if (this.stopped) {
      this.#backlog.push(() => {
        if (epoch === this.#epoch) this.#input(run);
      });
      return;
    }
    run(this.#raft);
    this.#pump(this.#raft);
  }

  #pump(raft: Raft): void {
    for (let ready = raft.ready(); ready; ready = raft.ready()) this.#carryOut(raft, ready);
    this.#committed(raft);
  }

  #carryOut(raft: Raft, ready: Ready): void {
    const { trace, events } = this.#world;
    if (ready.status) this.#status(ready.status);
    if (ready.configuration) {
      trace(() => `${this.id} has configuration ${JSON.stringify(ready.configuration, idText)}`);
      events.configured(this);
    }
    if (ready.write !== undefined) this.#write(ready);
    this.#committed(raft);
    if (ready.status?.role === "leader") {
      this.#world.observer.leads(this.id, ready.status, (index) => (index <= this.#base ? Infinity : this.#terms[index]));
    }
    if (ready.status) events.status(this, ready.status);
    for (const message of ready.messages) this.#send(raft, message);
    for (const entry of ready.committed) this.#apply(raft, entry);
    if (ready.committed.length > 0) raft.appliedTo(ready.committed.at(-1)!.index);
    for (const refused of ready.refused) this.#requests.notTaken(raft, refused);
    for (const { context, index } of ready.reads) this.#requests.mayRead(context, index);
    this.#requests.answerReads(() => this.#state.index);
  }

  #status({ role, term, leader }: Status): void {
    this.#world.trace(() => `${this.id} is ${role} in term ${term}, leader ${leader}`);
    this.#requests.leaderChanged();
  }

  #committed(raft: Raft): void {
    const { commit, status } = raft;
    if (commit < this.#commit) throw new Violation(`monotone commit: ${this.id} went back from ${this.#commit} to ${commit}`);
    if (commit === this.#commit) return;
    for (let i = Math.max(this.#commit, this.#base) + 1; i <= commit; i++) {
      this.#world.observer.commits(this.id, i, this.#terms[i], status.term);
    }
    this.#commit = commit;
    if (status.role === "leader") this.#world.events.commits(this);
  }

  #write({ write, snapshot, hardState, entries }: Ready): void {
    const saved = snapshot && this.#received.get(snapshot.index);
    if (snapshot) {
      if (!saved) throw new Violation(`${this.id} is to install a snapshot at ${snapshot.index} that it never received`);
      this.#installs.set(write!, saved);
      this.#base = snapshot.index;
      this.#terms = [];
      this.#world.events.installs(this);
    }
    this.#received.clear();
    if (entries.length > 0) this.#terms.length = entries[0]!.index;
    for (const entry of entries) this.#terms[entry.index] = entry.term;
    this.disk.write({ write: write!, snapshot: saved, hardState, entries });
  }

  #synced(raft: Raft, write: number): void {
    for (const [at, saved] of this.#installs) {
      if (at > write) continue;
      this.#installs.delete(at);
      this.#world.trace(() => `${this.id} installs the snapshot at ${saved.meta.index}`);
      this.#load(saved);
      raft.appliedTo(saved.meta.index);
      this.#configured(saved.meta.configuration);
    }
    raft.durable(write);
  }

  /** As the driver does: what nobody else can have is taken back; what others may commit waits until the disk takes it. */
  #failed(raft: Raft, frames: readonly Frame[], broken: boolean): void {
    this.#world.trace(() => `the disk of ${this.id} ${broken ? "breaks" : "is full"}`);
    const alone = this.leads && membersOf(raft.configuration).every((id) => id === this.id);
    const entries = frames.flatMap((f) => f.entries);
    if (!broken && (entries.length === 0 ? alone : raft.retract(entries[0]!.index))) {
      this.disk.discard();
      for (const entry of entries) if (entry.type === EntryType.normal) this.#requests.refuse(tagOf(entry), "no-space");
      return;
    }
    if (!broken) this.#after(DISK_RETRY, () => this.#input(() => this.disk.retry()));
    const [next] = raft.followers.filter((f) => !f.learner && f.active).sort((a, b) => b.match - a.match);
    if (next) raft.transferLeader(next.id);
  }

  #send(raft: Raft, message: Ready["messages"][number]): void {
    const { network, random, observer } = this.#world;
    if (message.type !== "snapshot") {
      if (message.type === "append") observer.appends(this.id, { index: message.prevIndex, term: message.prevTerm }, message.entries);
      const arrives = network.send({ message, state: undefined });
      if (arrives === undefined && random.chance(0.2)) {
        this.#after(random.between(1, 50), () => this.#input(() => raft.reportUnreachable(message.to)));
      }
      return;
    }
    const state = save(this.#state, raft);
    const arrives = state && network.send({ message: { ...message, meta: state.meta }, state });
    // The transport hears how it ended, sooner or later than Raft.
    this.#after((arrives ?? 20) + random.between(0, 20), () => this.#input(() => raft.reportSnapshot(message.to, arrives !== undefined)));
  }

  #apply(raft: Raft, entry: Entry): void {
    const { observer } = this.#world;
    observer.applies(this.id, entry);
    const expected = this.#state.index + 1;
    if (entry.index !== Math.max(expected, this.#base + 1) && entry.index !== expected) {
      throw new Violation(`${this.id} applies entry ${entry.index} after ${this.#state.index}`);
    }
    if (entry.type !== EntryType.normal) this.#state.pass(entry.index, entry.term);
    if (entry.type === EntryType.confChange) this.#configured(raft.metaAt(entry.index)!.configuration);
    if (entry.type !== EntryType.normal) return;
    const tag = tagOf(entry);
    observer.appliesProposal(this.id, tag);
    let answer: Answer;
    try {
      const command = decodeCommand(entry.data.subarray(TAG));
      answer = { ok: this.#state.apply(entry.index, entry.term, command, this.#clock()) };
      observer.records(this.#state);
      if (command.type === "compact") this.#state.mvcc.prune();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      answer = { refused: error.message };
    }
    this.#requests.answer(tag, answer);
  }

  #configured(applied: Configuration): void {
    const members = membersOf(applied);
    const removed = membersOf(this.#configuration).filter((id) => !members.includes(id));
    this.#configuration = applied;
    if (removed.length > 0) this.#world.events.removes(this, removed);
  }

  #load(saved: SavedState | undefined): void {
    this.#state = load(saved, this.#clock());
  }

  /** Whether it has applied that it is a member no more. */
  get isOut(): boolean {
    return this.#configuration !== NOBODY && !membersOf(this.#configuration).includes(this.id);
  }
}

export const idText = (_: string, value: unknown): unknown => (typeof value === "bigint" ? `${value}` : value);
