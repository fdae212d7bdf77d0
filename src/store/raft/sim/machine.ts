// A simulated process: the shell of one member around the real core and the
// store's real state machine.
import { decodeCommand, encodeCommand } from "../../codec.ts";
import type { Command } from "../../command.ts";
import { Refused } from "../../mvcc/errors.ts";
import type { TxnRequest } from "../../mvcc/types.ts";
import { SnapshotLoader, snapshotOf } from "../../snapshot/content.ts";
import { StateMachine } from "../../state.ts";
import { Raft } from "../raft.ts";
import {
  type ConfChange,
  type Entry,
  EntryType,
  type RaftConfig,
  type ReadMode,
  type Ready,
  type RefusedProposal,
  type SnapshotMeta,
  type StoredState,
} from "../types.ts";
import { type SavedState, SimDisk } from "./disk.ts";
import { type Observer, Violation } from "./invariants.ts";
import type { Parcel, SimNetwork } from "./network.ts";
import type { Random } from "./random.ts";
import type { Schedule } from "./schedule.ts";

/** What the machines of a history share. */
export interface World {
  random: Random;
  schedule: Schedule;
  network: SimNetwork;
  observer: Observer;
  options: Omit<RaftConfig, "id" | "random" | "clock"> & { tickMillis: number };
  /** A number that nobody had before, for proposals and reads. */
  unique(): number;
  trace(line: () => string): void;
  /** Before anybody else hears of it. */
  onLeader(machine: Machine): void;
}

export type Answer = { ok: unknown } | { refused: string };

interface PendingRead {
  txn: TxnRequest;
  index: number | undefined;
  answer: (answer: Answer) => void;
}

const TAG = 8;

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
  #proposals = new Map<number, (answer: Answer) => void>();
  /** Passed on to the leader, by context. */
  #forwarded = new Map<number, { tag: number; data: Uint8Array }>();
  #reads = new Map<number, PendingRead>();
  /** The terms of its log, by index; below the base, a snapshot has it all. */
  #terms: number[] = [];
  #base = 0;
  #commit = 0;
  /** Snapshots received, by index, until Raft says what to do with them. */
  #received = new Map<number, SavedState>();

  constructor(world: World, id: bigint, stored: StoredState) {
    this.#world = world;
    this.id = id;
    this.disk = new SimDisk(world.random, world.schedule, stored);
    // As far apart as Raft is told that they may be.
    this.#rate = world.random.between(0.95, 1.05);
    this.#offset = world.random.between(0, 1e6);
    this.disk.onSynced = (write) => this.#input((raft) => this.#synced(raft, write));
  }

  get up(): boolean {
    return this.#raft !== undefined;
  }

  get raft(): Raft | undefined {
    return this.#raft;
  }

  get state(): StateMachine {
    return this.#state;
  }

  start(): void {
    const { stored, snapshot } = this.disk.read();
    this.#world.trace(() => `${this.id} starts at ${stored.base.index}+${stored.entries.length}, term ${stored.hardState.term}`);
    this.#epoch++;
    this.#load(snapshot);
    this.#terms = [];
    this.#base = stored.base.index;
    for (const e of stored.entries) this.#terms[e.index] = e.term;
    this.#world.observer.appends(this.id, stored.base, stored.entries);
    this.#commit = 0;
    const { random, options } = this.#world;
    this.#raft = new Raft({ ...options, id: this.id, random: random.next, clock: () => this.#clock() }, stored);
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
    this.#proposals.clear();
    this.#forwarded.clear();
    this.#reads.clear();
    this.#received.clear();
    this.#writes.clear();
  }

  /** As SIGSTOP does: nothing happens for a while, but time goes by. */
  stop(millis: number): void {
    const until = this.#world.schedule.now + millis;
    if (!this.#raft || until <= this.#stoppedUntil) return;
    this.#world.trace(() => `${this.id} is stopped for ${millis.toFixed(0)} ms`);
    this.#stoppedUntil = until;
    const epoch = this.#epoch;
    this.#world.schedule.after(millis, () => {
      if (epoch !== this.#epoch || this.#world.schedule.now < this.#stoppedUntil) return;
      const backlog = this.#world.random.shuffled(this.#backlog);
      this.#backlog = [];
      for (const run of backlog) run();
    });
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
    this.#input((raft) => {
      const tag = this.#world.unique();
      const body = encodeCommand(command);
      const data = new Uint8Array(TAG + body.length);
      new DataView(data.buffer).setFloat64(0, tag);
      data.set(body, TAG);
      this.#proposals.set(tag, answer);
      this.#propose(raft, tag, data);
    });
  }

  #propose(raft: Raft, tag: number, data: Uint8Array): void {
    const proposed = raft.propose([data]);
    if ("forwarded" in proposed) this.#forwarded.set(proposed.context, { tag, data });
    if ("refused" in proposed) this.#refuse(tag, proposed.refused);
  }

  /** Whoever proposed is told that it never will be applied. */
  #refuse(tag: number, refused: string): void {
    this.#proposals.get(tag)?.({ refused });
    this.#proposals.delete(tag);
  }

  /** What another did not take is proposed again, or given up. */
  #refused(raft: Raft, { context, refusal }: RefusedProposal): void {
    const forwarded = this.#forwarded.get(context);
    if (!forwarded) return;
    this.#forwarded.delete(context);
    const { schedule, random } = this.#world;
    if (random.chance(0.5)) return this.#refuse(forwarded.tag, refusal);
    const again = () => this.#propose(raft, forwarded.tag, forwarded.data);
    const epoch = this.#epoch;
    schedule.after(random.between(0, 50), () => {
      if (epoch === this.#epoch) this.#input(again);
    });
  }

  read(txn: TxnRequest, mode: ReadMode, answer: (answer: Answer) => void): void {
    this.#input((raft) => {
      const context = this.#world.unique();
      this.#reads.set(context, { txn, index: undefined, answer });
      if (raft.readIndex(context, mode)) return;
      this.#reads.delete(context);
      answer({ refused: "no-leader" });
    });
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

  campaign(): void {
    this.#input((raft) => raft.campaign());
  }

  /** Saves the state as of now and lets go of the log before it. */
  snapshot(): void {
    this.#input((raft) => {
      const saved = this.#save(raft);
      if (!saved) return;
      this.#world.trace(() => `${this.id} takes a snapshot at ${saved.meta.index}`);
      this.disk.save(saved);
      raft.compact(saved.meta.index);
    });
  }

  #clock(): number {
    return this.#offset + this.#world.schedule.now * this.#rate;
  }

  #scheduleTick(): void {
    const { random, schedule, options } = this.#world;
    const epoch = this.#epoch;
    // Timers may be late, and make up for it, or for more than that.
    const late = random.chance(0.02) ? random.between(0, options.tickMillis) : 0;
    const ticks = random.chance(0.002) ? 1 + random.below(20) : 1;
    schedule.after(options.tickMillis / this.#rate + late, () => {
      if (epoch !== this.#epoch) return;
      this.#input((raft) => {
        for (let i = 0; i < ticks; i++) raft.tick();
        this.#scheduleTick();
      });
    });
  }

  #input(run: (raft: Raft) => void): void {
    const epoch = this.#epoch;
    if (!this.#raft) return;
    if (this.#world.schedule.now < this.#stoppedUntil) {
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
    if (raft.commit < this.#commit) throw new Violation(`monotone commit: ${this.id} went back from ${this.#commit} to ${raft.commit}`);
    this.#commit = raft.commit;
  }

  #carryOut(raft: Raft, ready: Ready): void {
    const { observer, trace } = this.#world;
    if (ready.status) {
      trace(() => `${this.id} is ${ready.status!.role} in term ${ready.status!.term}, leader ${ready.status!.leader}`);
      // What was asked of the leader before may never be answered.
      for (const [context, read] of this.#reads) {
        if (read.index !== undefined) continue;
        this.#reads.delete(context);
        read.answer({ refused: "leader-changed" });
      }
    }
    if (ready.configuration) trace(() => `${this.id} has configuration ${JSON.stringify(ready.configuration, idText)}`);
    if (ready.write !== undefined) this.#write(ready);
    if (ready.status?.role === "leader")
      observer.leads(this.id, ready.status, (index) => (index <= this.#base ? Infinity : this.#terms[index]));
    if (ready.status?.role === "leader") this.#world.onLeader(this);
    for (const message of ready.messages) this.#send(raft, message);
    for (const entry of ready.committed) this.#apply(entry);
    if (ready.committed.length > 0) raft.appliedTo(ready.committed.at(-1)!.index);
    for (const refused of ready.refused) this.#refused(raft, refused);
    for (const { context, index } of ready.reads) {
      const read = this.#reads.get(context);
      if (read) read.index = index;
    }
    this.#answerReads();
  }

  readonly #writes = new Map<number, SavedState>();

  #write({ write, snapshot, hardState, entries }: Ready): void {
    const saved = snapshot && this.#received.get(snapshot.index);
    if (snapshot) {
      if (!saved) throw new Violation(`${this.id} is to install a snapshot at ${snapshot.index} that it never received`);
      this.#writes.set(write!, saved);
      this.#base = snapshot.index;
      this.#terms = [];
    }
    this.#received.clear();
    if (entries.length > 0) this.#terms.length = entries[0]!.index;
    for (const entry of entries) this.#terms[entry.index] = entry.term;
    this.disk.write({ write: write!, snapshot: saved, hardState, entries });
  }

  #synced(raft: Raft, write: number): void {
    for (const [at, saved] of this.#writes) {
      if (at > write) continue;
      this.#writes.delete(at);
      this.#world.trace(() => `${this.id} installs the snapshot at ${saved.meta.index}`);
      this.#load(saved);
      raft.appliedTo(saved.meta.index);
    }
    raft.durable(write);
  }

  #send(raft: Raft, message: Ready["messages"][number]): void {
    const { network, schedule, random } = this.#world;
    if (message.type !== "snapshot") {
      if (message.type === "append")
        this.#world.observer.appends(this.id, { index: message.prevIndex, term: message.prevTerm }, message.entries);
      const arrives = network.send({ message, state: undefined });
      if (arrives === undefined && random.chance(0.2)) {
        schedule.after(random.between(1, 50), () => this.#input(() => raft.reportUnreachable(message.to)));
      }
      return;
    }
    const state = this.#save(raft);
    const arrives = state && network.send({ message: { ...message, meta: state.meta }, state });
    const epoch = this.#epoch;
    // The transport hears how it ended, sooner or later than Raft.
    schedule.after((arrives ?? 20) + random.between(0, 20), () => {
      if (epoch === this.#epoch) this.#input(() => raft.reportSnapshot(message.to, arrives !== undefined));
    });
  }

  #apply(entry: Entry): void {
    this.#world.observer.applies(this.id, entry, this.#raft!.status.term);
    const expected = this.#state.index + 1;
    if (entry.index !== Math.max(expected, this.#base + 1) && entry.index !== expected) {
      throw new Violation(`${this.id} applies entry ${entry.index} after ${this.#state.index}`);
    }
    if (entry.type !== EntryType.normal) {
      this.#state.index = entry.index;
      this.#state.term = entry.term;
      return;
    }
    const tag = new DataView(entry.data.buffer, entry.data.byteOffset).getFloat64(0);
    let answer: Answer;
    try {
      answer = { ok: this.#state.apply(entry.index, entry.term, decodeCommand(entry.data.subarray(TAG)), this.#clock()) };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      answer = { refused: error.message };
    }
    this.#proposals.get(tag)?.(answer);
    this.#proposals.delete(tag);
  }

  #answerReads(): void {
    for (const [context, read] of this.#reads) {
      if (read.index === undefined || read.index > this.#state.index) continue;
      this.#reads.delete(context);
      read.answer({ ok: this.#state.read(read.txn) });
    }
  }

  #save(raft: Raft): SavedState | undefined {
    const meta: SnapshotMeta | undefined = raft.metaAt(this.#state.index);
    if (!meta) return undefined;
    // Each chunk is overwritten by the next.
    return { meta, chunks: Array.from(snapshotOf(this.#state).chunks, (chunk) => structuredClone(chunk)) };
  }

  #load(saved: SavedState | undefined): void {
    this.#state = new StateMachine();
    if (!saved) return;
    const loader = new SnapshotLoader(this.#state, saved.meta);
    for (const chunk of saved.chunks) loader.add(chunk, this.#clock());
    loader.finish();
  }
}

export const idText = (_: string, value: unknown): unknown => (typeof value === "bigint" ? `${value}` : value);
