// One seed, one history: members, clients and faults in virtual time, checked
// at every step and as a whole at the end.
import { bootstrap, joining, membersOf } from "../configuration.ts";
import { Clients } from "./clients.ts";
import { Faults } from "./faults.ts";
import { Observer, Violation } from "./invariants.ts";
import { Machine } from "./machine.ts";
import { CALM, SimNetwork } from "./network.ts";
import { Random } from "./random.ts";
import { Schedule } from "./schedule.ts";
import type { World } from "./world.ts";

export interface Summary {
  seed: number;
  /** Virtual milliseconds. */
  millis: number;
  members: number;
  /** Operations of clients that were answered. */
  answered: number;
  /** Entries committed, and the last term. */
  entries: number;
  term: number;
}

export interface SimulationOptions {
  /** Told what happens, with the virtual time in milliseconds. */
  trace?: (at: number, line: string) => void;
}

const TICK = 20;
const ELECTION = 10;
const CHAOS = 4000;
/** By when, after everything works again, everybody must have made progress. */
const RECOVERY = 200 * ELECTION * TICK;

/**
 * Runs the history of a seed.
 *
 * @throws Violation, or what the checks of the whole history throw
 */
export function simulate(seed: number, options: SimulationOptions = {}): Summary {
  const simulation = new Simulation(seed, options);
  return simulation.run();
}

class Simulation {
  readonly #seed: number;
  readonly #random: Random;
  readonly #schedule = new Schedule();
  readonly #world: World;
  readonly #machines: Machine[] = [];
  readonly #clients: Clients;
  readonly #faults: Faults;

  constructor(seed: number, { trace }: SimulationOptions) {
    this.#seed = seed;
    this.#random = new Random(seed);
    const random = this.#random;
    const schedule = this.#schedule;
    const network = new SimNetwork(random, schedule, (to, parcel) => this.#machines.find((m) => m.id === to)?.receive(parcel));
    let unique = 0;
    // Leaders that fall as soon as they rise leave logs that differ, the more so if messages are small.
    const hunts = random.chance(0.2);
    const drift = random.pick([0.1, 0.1, 0.3]);
    const small = hunts || random.chance(0.5);
    this.#world = {
      random,
      schedule,
      network,
      observer: new Observer(),
      options: {
        tickMillis: TICK,
        electionTicks: ELECTION,
        maxClockDrift: drift,
        heartbeatTicks: random.pick([1, 2]),
        // Limits that short histories reach.
        maxInflight: small ? random.pick([1, 2, 4]) : 256,
        maxMessageBytes: small ? random.pick(hunts ? [1] : [1, 200, 1000]) : 512 * 1024,
        maxUncommittedBytes: small ? 2000 : 1 << 28,
        catchUpEntries: random.pick([0, 5, 50, 5000]),
        catchUpBytes: random.pick([500, 5000, 1 << 26]),
      },
      unique: () => ++unique,
      rate: ratesOf(random, drift),
      trace: (line) => trace?.(schedule.now, line()),
      events: {
        status: (machine, status) => this.#faults.status(machine, status),
        commits: (machine) => this.#faults.commits(machine),
        configured: (machine) => this.#faults.configured(machine),
        installs: (machine) => this.#faults.installs(machine),
        removes: (machine, ids) => this.#faults.removes(machine, ids),
      },
    };
    this.#clients = new Clients(random, schedule, () => this.#up(), 2.5 * ELECTION * TICK);
    this.#faults = new Faults({
      random,
      schedule,
      network,
      electionMillis: ELECTION * TICK,
      hunts,
      retires: random.chance(0.5),
      write: (machine) => this.#clients.poke(machine),
      machines: () => this.#machines,
      newMachine: () => this.#add(joining()),
      trace: this.#world.trace,
    });
    const count = random.pick(hunts ? [3, 5, 5] : [1, 2, 3, 3, 3, 3, 4, 5, 5]);
    const ids = Array.from({ length: count }, (_, i) => BigInt(i + 1));
    for (const _ of ids) this.#add(bootstrap(ids));
  }

  run(): Summary {
    const { trace } = this.#world;
    this.#clients.start(this.#random.pick([1, 4, 10]), this.#random.pick([10, 30, 100]));
    this.#faults.start(this.#random.pick([40, 120, 300]));
    this.#doubt();
    this.#schedule.run(CHAOS);
    trace(() => "everything works again");
    this.#faults.end(CALM);
    this.#clients.stop();
    this.#recover();
    const best = this.#upToDate();
    this.#clients.check(this.#world.observer.history);
    return {
      seed: this.#seed,
      millis: this.#schedule.now,
      members: this.#machines.length,
      answered: this.#clients.answered,
      entries: best.raft!.commit,
      term: best.raft!.status.term,
    };
  }

  /** Asks whoever thinks it leads, most of all when others do so too. */
  #doubt(): void {
    this.#schedule.after(this.#random.between(2, 8), () => {
      const leaders = this.#machines.filter((m) => m.leads);
      const asked = leaders.length > 1 ? leaders : this.#random.chance(0.03) ? [this.#random.pick(this.#machines)] : [];
      for (const m of asked) if (!m.stopped || this.#random.chance(0.1)) m.ask(this.#random.chance(0.8) ? "lease" : "quorum");
      this.#doubt();
    });
  }

  #add(stored: ReturnType<typeof joining>): Machine {
    const machine = new Machine(this.#world, BigInt(this.#machines.length + 1), stored);
    this.#machines.push(machine);
    machine.start();
    return machine;
  }

  #up(): readonly Machine[] {
    const up = this.#machines.filter((m) => m.up);
    return up.length > 0 ? up : this.#machines;
  }

  /** Who leads in the newest term. */
  #leader(): Machine | undefined {
    const leaders = this.#machines.filter((m) => m.leads);
    return leaders.sort((a, b) => b.raft!.status.term - a.raft!.status.term)[0];
  }

  /** A leader, every member of its configuration at its commit index, and every one of them answering. */
  #recover(): void {
    const deadline = this.#schedule.now + RECOVERY;
    if (!this.#schedule.run(deadline, () => this.#settled())) throw new Violation(`progress: ${this.#stuck()}`);
    const probed = new Set<Machine>();
    const answered = new Set<Machine>();
    // Who is a member may still change by what was proposed before.
    const allAnswer = () => {
      for (const m of this.#members()) {
        if (probed.has(m)) continue;
        probed.add(m);
        this.#clients.probe(m, () => answered.add(m));
      }
      return this.#leader() !== undefined && this.#members().every((m) => answered.has(m));
    };
    if (!this.#schedule.run(deadline, allAnswer)) throw new Violation(`progress: not every member answers: ${this.#stuck()}`);
    if (!this.#schedule.run(deadline, () => this.#settled())) throw new Violation(`progress: ${this.#stuck()}`);
    this.#compare();
  }

  #members(): Machine[] {
    const leader = this.#leader();
    const ids = leader ? membersOf(leader.raft!.configuration) : [];
    return this.#machines.filter((m) => ids.includes(m.id));
  }

  #settled(): boolean {
    const leader = this.#leader();
    if (!leader) return false;
    const { commit, lastIndex, configuration } = leader.raft!;
    if (commit !== lastIndex || (configuration.autoLeave && configuration.outgoing.length > 0)) return false;
    return this.#members().every((m) => m.state.index === commit && m.raft?.status.leader === leader.id);
  }

  #stuck(): string {
    const of = (m: Machine) => {
      const { role, term, leader } = m.raft!.status;
      return `${m.id} ${role} in term ${term} of ${leader}, commit ${m.raft!.commit} of ${m.raft!.lastIndex}, applied ${m.state.index}`;
    };
    return this.#machines.map((m) => (m.up ? of(m) : `${m.id} down`)).join("; ");
  }

  #upToDate(): Machine {
    return this.#members()[0]!;
  }

  /** All members hold the same. */
  #compare(): void {
    const members = this.#members();
    const [first, ...others] = members.map((m) => pictureOf(m));
    for (const [i, other] of others.entries()) {
      if (other !== first) throw new Violation(`members ${members[0]!.id} and ${members[i + 1]!.id} differ`);
    }
  }
}

/** As far apart as Raft is told that clocks may be, now and then one against all others. */
function ratesOf(random: Random, drift: number): () => number {
  const slowest = 0.95;
  const fastest = (slowest / (1 - drift)) * 0.999;
  const slow = random.chance(0.3) ? random.below(5) : undefined;
  let made = 0;
  return () => (slow === undefined ? random.between(slowest, fastest) : made++ === slow ? slowest : fastest);
}

const ALL = Uint8Array.of(0);

/** All that a member's state holds, and since when. */
function pictureOf({ state: { mvcc } }: Machine): string {
  const { kvs } = mvcc.range({ key: ALL, end: ALL });
  return JSON.stringify([
    mvcc.revision,
    mvcc.compactRevision,
    kvs.map((kv) => [`${kv.key}`, `${kv.value}`, kv.createRevision, kv.modRevision, kv.version]),
  ]);
}
