// The shell around Raft: feeds it proposals, reads, messages and the clock, and
// carries out what it says, the disk beside the network.
import { writeOut } from "../../rpc/server.ts";
import { decodeCommand } from "../codec.ts";
import type { AnswerOf, Command } from "../command.ts";
import type { Consensus, Host, Network, Settle, Timing } from "../consensus.ts";
import { Refused } from "../mvcc/errors.ts";
import { decodeConfChange, membersOf } from "../raft/configuration.ts";
import type { Message, Propose } from "../raft/messages.ts";
import {
  type ConfChange,
  type Configuration,
  type Entry,
  EntryType,
  type FollowerStatus,
  type Position,
  type RaftCore,
  type Ready,
  type SnapshotMeta,
  type Status,
} from "../raft/types.ts";
import type { Wal, WalError } from "../wal/wal.ts";
import { Changes } from "./changes.ts";
import { Deadlines } from "./deadlines.ts";
import { Disk, type Write } from "./disk.ts";
import { commandAt } from "./envelope.ts";
import { Proposals } from "./proposals.ts";
import { Pulse } from "./pulse.ts";
import { Reads } from "./reads.ts";
import { Succession } from "./succession.ts";

/** After so long, a read that got no answer asks the leader again. */
const READ_RETRY = 500;
/** How long a full disk is left alone before what was refused is tried again. */
const DISK_RETRY = 1000;

export class RaftConsensus implements Consensus {
  readonly #raft: RaftCore;
  readonly #host: Host;
  readonly #network: Network;
  readonly #timing: Timing;
  readonly #disk: Disk;
  readonly #proposals = new Proposals();
  readonly #reads = new Reads();
  readonly #deadlines: Deadlines;
  readonly #succession: Succession;
  readonly #changes: Changes;
  #applied: number;
  /** It leads, and nobody else takes part: what its disk holds is committed, and nobody can have another leader. */
  #alone = false;
  /** Where the log ended when this member became the leader: of what it had, some may be acknowledged, and not applied here. */
  #inherited = 0;
  /** It is no member of the configuration. */
  #out = false;
  readonly #pulse: Pulse;
  #retrying: ReturnType<typeof setTimeout> | undefined;
  /** Proposals wait, because the leader can't be reached. */
  #held = false;
  #scheduled = false;
  #pumping = false;
  #again = false;
  #stopped = false;
  /** What this member had acknowledged is not there any more. */
  #lost = false;
  #slowReads = 0;
  /** Times that a leader's heartbeats left late, for metrics. */
  lateHeartbeats = 0;

  constructor(raft: RaftCore, wal: Wal, applied: number, host: Host, network: Network, timing: Timing) {
    this.#raft = raft;
    this.#host = host;
    this.#network = network;
    this.#timing = timing;
    this.#applied = applied;
    this.#deadlines = new Deadlines(timing.electionMillis, network);
    this.#pulse = new Pulse(timing.tickMillis, (now, late) => this.#tick(now, late));
    this.#succession = new Succession(raft, network, this.#deadlines, () => this.#pump());
    this.#changes = new Changes(raft, this.#deadlines, {
      applied: () => this.#applied,
      stopped: () => this.#stopped,
      pump: () => this.#pump(),
    });
    this.#disk = new Disk(wal, {
      durable: (write) => {
        raft.durable(write);
        this.#host.recovered();
        this.#pump();
      },
      install: async (meta) => {
        await host.install(meta);
        this.#applied = meta.index;
        this.#deadlines.skipped(meta.index);
        this.#reads.applied(meta.index);
      },
      failed: (error, writes) => this.#diskFailed(error, writes),
    });
    this.#configured(raft.configuration);
    this.#pump();
  }

  get term(): number {
    return this.#raft.status.term;
  }

  get leader(): bigint {
    return this.#raft.status.leader;
  }

  get isLeader(): boolean {
    return this.#raft.status.role === "leader";
  }

  /** Whether it leads, and nobody else takes part. */
  get alone(): boolean {
    return this.#alone;
  }

  get committedIndex(): number {
    return this.#raft.commit;
  }

  get pending(): number {
    return this.#proposals.size;
  }

  get failures(): number {
    return this.#proposals.failures;
  }

  /** Linearizable reads, for metrics: how often one had to ask again, and how many got no answer in time. */
  get slowReads(): number {
    return this.#slowReads;
  }

  get failedReads(): number {
    return this.#reads.failures;
  }

  get followers(): readonly FollowerStatus[] {
    return this.#raft.followers;
  }

  propose<C extends Command>(command: C, data: Uint8Array): Promise<AnswerOf<C>> {
    return new Promise((resolve, reject) => this.submit(command, data, { resolve, reject }));
  }

  submit<C extends Command>(command: C, data: Uint8Array, settle: Settle<AnswerOf<C>>): void {
    if (this.#stopped) return settle.reject(new Refused("unavailable"));
    if (this.#proposals.isFull) return settle.reject(new Refused("too-many-requests"));
    this.#proposals.add(command, data, performance.now(), settle as Settle<unknown>);
    this.#wake();
  }

  change(make: () => ConfChange): Promise<Position> {
    return this.#changes.change(make);
  }

  readBarrier(): Promise<void> | undefined {
    if (this.#alone && this.#applied >= Math.max(this.#inherited, this.#raft.commit) && !this.#stopped) return undefined;
    if (this.#stopped) return Promise.reject(new Refused("unavailable"));
    const done = this.#reads.add(performance.now());
    this.#wake();
    return done;
  }

  transfer(target: bigint): Promise<void> {
    return this.#succession.transfer(target);
  }

  appliedIndex(index: number): Promise<void> {
    return index <= this.#applied ? Promise.resolve() : this.#deadlines.past(index);
  }

  leaderKnown(): Promise<void> {
    return this.leader === 0n ? this.#deadlines.known() : Promise.resolve();
  }

  handOver(): Promise<void> {
    return this.#succession.handOver();
  }

  /** Another member can't be handed over to. */
  goneAt(id: bigint): void {
    this.#deadlines.gone(id);
  }

  /** Takes a message of another member. */
  step(messages: readonly Message[]): void {
    if (this.#stopped || this.#lost) return;
    for (const message of messages) {
      // A leader tells no more than was acknowledged from here.
      if (message.type === "heartbeat" && message.commit > this.#raft.lastIndex) {
        this.#lost = true;
        return this.#host.lost(message.commit, this.#raft.lastIndex);
      }
      this.#raft.step(message);
    }
    this.#pump();
  }

  /** What was proposed to a leader that there is no connection to waits for the next, or for it to come back. */
  unsent({ datas }: Propose): void {
    const lost = datas.flatMap((data) => this.#proposals.take(data) ?? []);
    if (lost.length === 0) return;
    this.#proposals.putBack(lost);
    this.#held = true;
  }

  reportUnreachable(id: bigint): void {
    if (this.#stopped) return;
    if (this.#network.connectedSince(id) === undefined) this.#deadlines.gone(id);
    this.#raft.reportUnreachable(id);
    this.#pump();
  }

  reportSnapshot(id: bigint, ok: boolean): void {
    if (this.#stopped) return;
    this.#raft.reportSnapshot(id, ok);
    this.#pump();
  }

  /** What a snapshot of the state as of an applied index is to say. */
  metaAt(index: number): SnapshotMeta | undefined {
    return this.#raft.metaAt(index);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return this.#disk.idle();
    // What is proposed already is settled first, as far as that lies in this member's hands alone.
    for (this.#pump(); this.#alone && this.#proposals.size > 0 && this.#disk.writing; this.#pump()) await this.#disk.idle();
    this.#stopped = true;
    this.#pulse.stop();
    clearTimeout(this.#retrying);
    const stopped = new Refused("unavailable");
    this.#proposals.rejectAll(stopped);
    this.#reads.rejectAll(stopped);
    this.#deadlines.rejectAll(stopped);
    await this.#disk.idle();
  }

  /** What all sockets bring in this turn joins; what comes during a lone member's fdatasync shares the next one. */
  #wake(): void {
    if (this.#scheduled || (this.#alone && this.#disk.busy)) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#stopped) return;
    this.#again = true;
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        this.#propose();
        this.#ask();
        for (let ready = this.#raft.ready(); ready; ready = this.#raft.ready()) this.#carryOut(ready);
      }
      if (this.#out && this.#raft.dismissed) this.#host.dismissed();
    } finally {
      this.#pumping = false;
    }
  }

  #propose(): void {
    while (this.#proposals.waiting > 0 && !this.#held && !(this.#alone && this.#disk.busy)) {
      const batch = this.#proposals.next();
      const proposed = this.#raft.propose(batch.map((p) => p.data));
      // There will be a leader, or room; until then they wait.
      if ("refused" in proposed) return this.#proposals.putBack(batch);
      this.#proposals.proposed(batch, "forwarded" in proposed ? proposed.context : undefined);
      // Raft's answer is the write.
      if (this.#alone) return;
    }
  }

  #ask(): void {
    const now = performance.now();
    const context = this.#reads.start(now);
    if (context !== undefined && !this.#raft.readIndex(context, this.#timing.reads)) this.#reads.retry(now);
  }

  #carryOut(ready: Ready): void {
    if (ready.configuration) this.#configured(ready.configuration);
    if (ready.status) this.#statusChanged(ready.status);
    if (ready.messages.length > 0) this.#network.send(ready.messages);
    if (ready.write !== undefined) {
      const { write: number, snapshot, hardState, entries } = ready;
      this.#disk.add({ number, snapshot, hardState, entries });
    }
    if (ready.committed.length > 0) this.#apply(ready.committed);
    if (ready.refused.length > 0) {
      // The one that was asked does not lead, or has no room: until the next tick, it would say the same again.
      this.#proposals.refused(new Set(ready.refused.map((r) => r.context)));
      this.#held = true;
    }
    for (const { context, index } of ready.reads) this.#reads.answered(context, index);
    if (ready.reads.length > 0) {
      this.#reads.applied(this.#applied);
      this.#again = true;
    }
  }

  #apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.type === EntryType.normal) this.#applyCommand(entry);
      else if (entry.type === EntryType.confChange) this.#host.changed(entry, decodeConfChange(entry.data));
      else this.#host.passed(entry);
      this.#deadlines.applied(entry);
    }
    this.#applied = entries.at(-1)!.index;
    this.#raft.appliedTo(this.#applied);
    this.#host.applied();
    // Whoever was answered goes on while this member takes what came next.
    writeOut();
    this.#reads.applied(this.#applied);
    this.#again = true;
  }

  #applyCommand(entry: Entry): void {
    const proposal = this.#proposals.take(entry.data);
    const command = proposal ? proposal.command : decodeCommand(entry.data, commandAt(entry.data), true);
    let answer: unknown;
    try {
      answer = this.#host.apply(entry, command);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return proposal?.settle.reject(error);
    }
    proposal?.settle.resolve(answer);
  }

  #configured(configuration: Configuration): void {
    this.#out = !membersOf(configuration).includes(this.#raft.id);
    this.#accompanied();
  }

  /** Whoever is left as the only voter has to campaign first, and needs ticks for that. */
  #accompanied(): void {
    const { id, configuration } = this.#raft;
    this.#alone = this.isLeader && membersOf(configuration).every((member) => member === id);
    this.#disk.afterMessages = !this.#alone;
    // What waits for somebody that is gone still has its deadline.
    if (this.#alone) this.#pulse.runOut(this.#deadlines.oldest);
    else this.#pulse.start();
  }

  #statusChanged(status: Status): void {
    if (status.role === "leader") this.#inherited = this.#raft.lastIndex - 1;
    this.#accompanied();
    this.#held = false;
    this.#deadlines.status(status);
    this.#reads.retry(Number.POSITIVE_INFINITY);
    this.#host.status(status);
    this.#again = true;
  }

  #tick(now: number, late: boolean): void {
    this.#held = false;
    if (late && this.isLeader) this.lateHeartbeats++;
    this.#raft.tick();
    if (this.#reads.retry(now - READ_RETRY)) this.#slowReads++;
    const { oldest } = this.#deadlines;
    this.#proposals.expire(now - oldest, (p) => this.#deadlines.why(p.since));
    this.#reads.expire(now - oldest, () => new Refused("timeout"));
    this.#deadlines.expire(now);
    this.#pump();
  }

  #diskFailed(error: WalError, writes: readonly Write[]): void {
    this.#host.failed(error);
    const refusal = () => new Refused(error.noSpace ? "no-space" : "storage-failed", { cause: error });
    const entries = writes.flatMap((w) => w.entries);
    if (error.noSpace && (entries.length === 0 ? this.#alone : this.#raft.retract(entries[0]!.index))) {
      this.#disk.discard();
      for (const entry of entries) {
        const proposal = entry.type === EntryType.normal ? this.#proposals.take(entry.data) : undefined;
        if (proposal) this.#proposals.fail(proposal, refusal());
      }
      if (entries.length > 0) this.#deadlines.retracted(entries[0]!.index, refusal());
      return;
    }
    // Others may commit what this member can't write, so that its own clients are not told that it failed.
    if (this.#alone) {
      this.#proposals.rejectAll(refusal());
      this.#deadlines.retracted(0, refusal());
    }
    this.#retry(error);
    this.#succession.stepAside();
  }

  /** A disk that is full may have room later; what was a leader that can't write is one until somebody takes over. */
  #retry(error: WalError): void {
    const again = () => {
      if (!error.broken) return this.#disk.retry();
      this.#succession.stepAside();
      this.#retry(error);
    };
    this.#retrying = setTimeout(again, DISK_RETRY).unref();
  }
}
