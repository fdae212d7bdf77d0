// Members in one process whose every message, write and crash a script decides.
import { bootstrap } from "../configuration.ts";
import type { Message } from "../messages.ts";
import { Raft } from "../raft.ts";
import type { Entry, HardState, RaftConfig, Ready, SnapshotMeta, StoredState } from "../types.ts";
import { configurationText, entriesText, hardStateText, messageText } from "./text.ts";

interface Written {
  write: number;
  snapshot: SnapshotMeta | undefined;
  hardState: HardState | undefined;
  entries: readonly Entry[];
}

export class Member {
  readonly id: bigint;
  readonly options: Partial<RaftConfig>;
  raft: Raft | undefined;
  hardState: HardState;
  base: SnapshotMeta;
  /** What is on the disk. */
  entries: Entry[];
  /** Written and not synced. */
  pending: Written[] = [];
  /** Syncs only when told. */
  slow = false;
  /** Milliseconds that its ticks have brought its clock ahead of the others'. */
  ahead = 0;

  constructor(id: bigint, stored: StoredState, options: Partial<RaftConfig>) {
    this.id = id;
    this.options = options;
    this.hardState = stored.hardState;
    this.base = stored.base;
    this.entries = [...stored.entries];
  }

  get stored(): StoredState {
    return { hardState: this.hardState, base: this.base, entries: this.entries };
  }

  keep({ snapshot, hardState, entries }: Written): void {
    if (snapshot) {
      this.base = snapshot;
      this.entries = [];
    }
    if (hardState) this.hardState = hardState;
    if (entries.length > 0) this.entries = [...this.entries.filter((e) => e.index < entries[0]!.index), ...entries];
  }
}

/** Milliseconds. */
const TICK = 100;
/** Rounds after which a script that comes to no rest is wrong. */
const MOST_ROUNDS = 200;

export class Scenario {
  readonly #members = new Map<bigint, Member>();
  readonly #cut = new Set<string>();
  #network: Message[] = [];
  #clock = 0;
  #out: string[] = [];

  /** Lines of what happened since the last call. */
  takeOutput(): string {
    const out = this.#out.length > 0 ? this.#out.join("\n") : "nothing";
    this.#out = [];
    return out;
  }

  say(line: string): void {
    this.#out.push(line);
  }

  advanceClock(millis: number): void {
    this.#clock += millis;
  }

  member(id: bigint): Member {
    const member = this.#members.get(id);
    if (!member) throw new Error(`there is no member ${id}`);
    return member;
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  add(id: bigint, stored: StoredState, options: Partial<RaftConfig>): void {
    const member = new Member(id, stored, options);
    this.#members.set(id, member);
    this.start(member);
  }

  start(member: Member): void {
    const options: RaftConfig = { ...member.options, id: member.id, random: () => 0, clock: () => this.#clock + member.ahead };
    member.raft = new Raft(options, member.stored);
    this.#carryOut(member);
  }

  /** What was not synced is lost. */
  crash(member: Member): void {
    member.raft = undefined;
    member.pending = [];
  }

  cut(link: string): void {
    this.#cut.add(link);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** A tick's time passes for one member, and for no other. */
  tick(id: bigint): void {
    this.member(id).ahead += TICK;
    this.input(id, (raft) => raft.tick());
  }

  /** Gives an input to a member, and carries out what comes of it. */
  input<T>(id: bigint, run: (raft: Raft) => T): T | undefined {
    const member = this.member(id);
    if (!member.raft) {
      this.say(`${id} is down`);
      return undefined;
    }
    const result = run(member.raft);
    this.#carryOut(member);
    return result;
  }

  sync(member: Member): void {
    const written = member.pending;
    member.pending = [];
    for (const w of written) member.keep(w);
    const last = written.at(-1);
    if (last && member.raft) {
      if (written.some((w) => w.snapshot)) member.raft.appliedTo(member.base.index);
      member.raft.durable(last.write);
      this.#carryOut(member);
    }
  }

  /** The disk has no room for what it was given: a leader that nobody follows takes it back, others keep it for later. */
  refuse(member: Member): void {
    const first = member.pending.flatMap((w) => w.entries)[0];
    const retracted = first !== undefined && member.raft!.retract(first.index);
    this.say(`${member.id} ${retracted ? "takes back" : "keeps"} what its disk refuses`);
    if (retracted) member.pending = [];
    this.#carryOut(member);
  }

  /** A crash when a received snapshot is in place, and the log has not begun anew behind it. */
  crashInstalling(member: Member): void {
    const snapshot = member.pending.findLast((w) => w.snapshot)?.snapshot;
    if (!snapshot) throw new Error(`${member.id} is not installing a snapshot`);
    member.base = snapshot;
    member.entries = member.entries.filter((e) => e.index > snapshot.index);
    this.crash(member);
  }

  /** Delivers what is on its way, of these links only if there are any; not what comes of it. Returns how much there was. */
  deliver(links: readonly string[] = []): number {
    const linkOf = (m: Message) => `${m.from}->${m.to}`;
    const chosen = this.#network.filter((m) => links.length === 0 || links.includes(linkOf(m)));
    this.#network = this.#network.filter((m) => !chosen.includes(m));
    for (const m of chosen) this.#arrive(m, linkOf(m));
    return chosen.length;
  }

  /** Throws away what is on its way. */
  lose(links: readonly string[]): void {
    const lost = this.#network.filter((m) => links.length === 0 || links.includes(`${m.from}->${m.to}`));
    this.#network = this.#network.filter((m) => !lost.includes(m));
    for (const m of lost) this.say(`${m.from}->${m.to} ${messageText(m)} (lost)`);
  }

  stabilize(): void {
    for (let round = 0; this.deliver() > 0; round++) {
      if (round === MOST_ROUNDS) throw new Error(`no rest after ${MOST_ROUNDS} rounds`);
    }
  }

  #arrive(m: Message, link: string): void {
    const member = this.#members.get(m.to);
    if (this.#cut.has(link) || !member?.raft) {
      // Of those there are too many to tell.
      if (m.type !== "heartbeat") this.say(`${link} ${messageText(m)} (lost)`);
      return;
    }
    this.say(`${link} ${messageText(m)}`);
    member.raft.step(m);
    this.#carryOut(member);
    // The transport of a snapshot knows how it went.
    if (m.type === "snapshot") this.#members.get(m.from)?.raft?.reportSnapshot(m.to, true);
  }

  #carryOut(member: Member): void {
    for (let ready = member.raft!.ready(); ready; ready = member.raft!.ready()) this.#one(member, ready);
  }

  #one(member: Member, ready: Ready): void {
    const { id } = member;
    if (ready.status) this.say(`${id} is ${ready.status.role}, term ${ready.status.term}, leader ${ready.status.leader || "none"}`);
    if (ready.snapshot) this.say(`${id} installs a snapshot at ${ready.snapshot.index}/${ready.snapshot.term}`);
    if (ready.write !== undefined) this.#write(member, ready);
    if (ready.committed.length > 0) {
      this.say(`${id} applies ${entriesText(ready.committed)}`);
      member.raft!.appliedTo(ready.committed.at(-1)!.index);
    }
    if (ready.configuration) this.say(`${id} has ${configurationText(ready.configuration)}`);
    for (const read of ready.reads) this.say(`${id} may answer read ${read.context} at ${read.index}`);
    for (const { refusal } of ready.refused) this.say(`${id} hears that its proposal is refused: ${refusal}`);
    this.#network.push(...ready.messages);
    if (!member.slow) this.sync(member);
  }

  #write(member: Member, { write, snapshot, hardState, entries }: Ready): void {
    const what = [hardState && hardStateText(hardState), entries.length > 0 && `[${entriesText(entries)}]`].filter(Boolean);
    if (what.length > 0) this.say(`${member.id} writes ${what.join(" ")}`);
    member.pending.push({ write: write!, snapshot, hardState, entries });
  }
}

/** A member of a new cluster whose log has entries of these terms behind the start. */
export function withLog(voters: readonly bigint[], terms: readonly number[], term: number): StoredState {
  const { base } = bootstrap(voters);
  const entries = terms.map((t, i): Entry => ({ index: i + 2, term: t, type: 0, data: Buffer.from(`t${t}`) }));
  return { base, entries, hardState: { term, vote: 0n, commit: base.index } };
}
