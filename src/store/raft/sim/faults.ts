// What goes wrong in a history, and what operators do meanwhile.
import { isVoter, membersOf } from "../configuration.ts";
import type { ConfChange, Configuration, MemberChange, Status } from "../types.ts";
import type { Machine } from "./machine.ts";
import type { SimNetwork, Weather } from "./network.ts";
import { Plots } from "./plots.ts";
import type { Random } from "./random.ts";
import type { Schedule } from "./schedule.ts";

export interface Site {
  random: Random;
  schedule: Schedule;
  network: SimNetwork;
  electionMillis: number;
  /** Whoever comes to lead is struck soon. */
  hunts: boolean;
  /** Who is a member no more is switched off for good. */
  retires: boolean;
  machines(): readonly Machine[];
  /** A client writes there. */
  write(machine: Machine): void;
  /** A machine that knows nothing, to be added as a member. */
  newMachine(): Machine;
  trace(line: () => string): void;
}

const FAULTS = {
  crash: 6,
  reboot: 3,
  restart: 10,
  stop: 4,
  partition: 3,
  isolate: 4,
  coup: 2,
  oneWay: 3,
  heal: 14,
  weather: 3,
  slowDisk: 3,
  fullDisk: 2,
  brokenDisk: 1,
  snapshot: 4,
  transfer: 3,
  campaign: 1,
  change: 5,
  plot: 4,
};

type Fault = keyof typeof FAULTS;
type Weights = Record<Fault, number>;

/** Each history has some faults more often than others, and some not at all: what needs a lot of one kind is found too. */
function weightsOf(random: Random): Weights {
  const weights = { ...FAULTS };
  for (const fault of Object.keys(weights) as Fault[]) {
    if (fault !== "heal" && fault !== "restart") weights[fault] *= random.pick([0, 1, 1, 1, 5]);
  }
  // A few are little else than plots.
  if (random.chance(0.4)) weights.plot = 60;
  return weights;
}

export class Faults {
  readonly #site: Site;
  readonly #weights: Weights;
  readonly #plots: Plots;
  #over = false;

  constructor(site: Site) {
    this.#site = site;
    this.#plots = new Plots(site);
    this.#weights = weightsOf(site.random);
  }

  /** @param pause longest time in milliseconds between two faults */
  start(pause: number): void {
    const { schedule, random } = this.#site;
    schedule.after(random.between(0, pause), () => {
      if (this.#over) return;
      if (!this.#plots.busy || random.chance(0.2)) this.#do(random.weighted(this.#weights));
      this.start(pause);
    });
  }

  status(machine: Machine, status: Status): void {
    this.#plots.happens(machine, "status", status);
    if (status.role === "leader") this.#hunt(machine);
    else this.#retire(machine);
  }

  commits(machine: Machine): void {
    this.#plots.happens(machine, "commit");
  }

  configured(machine: Machine): void {
    this.#plots.happens(machine, "configuration");
  }

  /** Strikes between the parts of an installation. */
  installs(machine: Machine): void {
    const { schedule, random } = this.#site;
    if (!this.#over && random.chance(0.2)) schedule.after(random.between(0, 5), () => this.#reboot(machine));
  }

  /** Whoever sees a change applied may rely on it, and switch off the members that it removes. */
  removes(machine: Machine, ids: readonly bigint[]): void {
    const { schedule, random } = this.#site;
    for (const m of this.#site.machines()) if (ids.includes(m.id)) this.#retire(m, m !== machine);
    if (!this.#over && random.chance(0.2)) schedule.after(random.between(0, 3), () => this.#reboot(machine));
  }

  /** One that leads, or that led when it was removed, goes on until the others can do without it. */
  #retire(machine: Machine, known = false): void {
    const { retires, schedule, random } = this.#site;
    const goes = () => !machine.retired && !machine.leads && (machine.isOut ? machine.raft?.dismissed : known);
    if (!retires || !goes()) return;
    schedule.after(random.pick([0, random.between(0, 300)]), () => {
      if (goes()) machine.retire();
    });
  }

  /** Strikes at who comes to lead: before it has told anybody, or soon after. */
  #hunt(machine: Machine): void {
    const { schedule, random, hunts } = this.#site;
    if (!hunts || this.#over || this.#plots.busy) return;
    if (random.chance(0.4)) {
      this.#isolate(machine);
      schedule.after(random.between(50, 800), () => this.#site.network.heal());
    } else if (random.chance(0.7)) {
      schedule.after(random.between(0, random.pick([10, 40])), () => {
        if (!machine.up || this.#over) return;
        machine.crash();
        schedule.after(random.between(50, 800), () => {
          if (!machine.up) machine.start();
        });
      });
    }
  }

  #newestLeader(): Machine | undefined {
    const leaders = this.#site.machines().filter((m) => m.leads);
    return leaders.sort((a, b) => b.raft!.status.term - a.raft!.status.term)[0];
  }

  /** All that was broken works again. */
  end(calm: Weather): void {
    const { network, machines } = this.#site;
    this.#over = true;
    this.#plots.end();
    network.heal();
    network.weather = calm;
    for (const m of machines()) {
      m.disk.latency = () => this.#site.random.between(0.1, 3);
      m.disk.full = false;
      if (m.disk.broken && m.up) m.crash();
      if (!m.up) m.start();
    }
  }

  #do(fault: Fault): void {
    const { random, network, electionMillis } = this.#site;
    const machines = this.#site.machines();
    const machine = random.pick(machines);
    switch (fault) {
      case "crash":
        if (machine.up) machine.crash();
        break;
      case "reboot":
        this.#reboot(machine);
        break;
      case "restart":
        for (const m of machines) if (!m.up && random.chance(0.7)) m.start();
        break;
      case "stop":
        machine.stop(random.between(0, 3 * electionMillis));
        break;
      case "partition":
        this.#partition(machines);
        break;
      case "isolate": {
        const leader = machines.find((m) => m.leads);
        if (leader) this.#isolate(leader);
        break;
      }
      case "coup":
        this.#coup(machines);
        break;
      case "oneWay":
        for (const from of machines) {
          for (const to of machines) if (from !== to && random.chance(0.25)) network.cut(from.id, to.id);
        }
        break;
      case "heal":
        network.heal();
        break;
      case "weather":
        network.weather = randomWeather(random);
        break;
      case "slowDisk": {
        const slow = random.between(1, electionMillis);
        machine.disk.latency = random.chance(0.5) ? () => random.between(0.1, 3) : () => random.between(0.1, slow);
        break;
      }
      case "fullDisk": {
        machine.disk.full = true;
        const { schedule } = this.#site;
        schedule.after(random.between(10, random.pick([100, 1000])), () => {
          machine.disk.full = false;
        });
        break;
      }
      case "brokenDisk":
        if (!machine.up) break;
        machine.disk.break();
        this.#site.schedule.after(random.between(0, 3 * electionMillis), () => {
          if (machine.disk.broken && machine.up) machine.crash();
        });
        break;
      case "snapshot":
        if (machine.up) machine.snapshot();
        break;
      case "transfer":
        for (const m of machines) if (m.leads) m.transfer(random.pick(machines).id);
        break;
      case "campaign":
        machine.campaign();
        break;
      case "change":
        this.#change(machines);
        break;
      case "plot":
        this.#plots.begin();
    }
  }

  #partition(machines: readonly Machine[]): void {
    const { random, network } = this.#site;
    const side = new Map(machines.map((m) => [m.id, random.chance(0.5)]));
    for (const a of machines) {
      for (const b of machines) if (a !== b && side.get(a.id) !== side.get(b.id)) network.cut(a.id, b.id);
    }
  }

  #reboot(machine: Machine): void {
    const { schedule, random } = this.#site;
    if (!machine.up) return;
    machine.crash();
    schedule.after(random.between(0, 30), () => {
      if (!machine.up) machine.start();
    });
  }

  /** A machine with a few others, or alone. */
  #isolate(machine: Machine): void {
    const { random, network, machines } = this.#site;
    const apart = random.pick([0, 0.3]);
    const side = machines().filter((m) => m === machine || random.chance(apart));
    for (const a of side) {
      for (const b of machines()) {
        if (side.includes(b)) continue;
        network.cut(a.id, b.id);
        if (apart === 0 || random.chance(0.7)) network.cut(b.id, a.id);
      }
    }
  }

  /** A leader is cut off, and others want to lead sooner than they may. */
  #coup(machines: readonly Machine[]): void {
    const { schedule, random } = this.#site;
    const leader = this.#newestLeader();
    if (!leader) return;
    if (random.chance(0.4)) leader.transfer(random.pick(machines).id);
    else if (random.chance(0.5)) for (const m of machines) if (m !== leader) this.#reboot(m);
    schedule.after(random.between(0, 10), () => {
      if (!this.#over) this.#isolate(leader);
    });
    for (let i = 0; i < 3; i++) {
      schedule.after(random.between(5, 60), () => {
        const rival = random.pick(machines);
        if (rival !== leader) rival.campaign();
      });
    }
  }

  /** Asks any machine that thinks it leads, also one that is wrong. */
  #change(machines: readonly Machine[]): void {
    const { random } = this.#site;
    const leader = random.shuffled(machines).find((m) => m.leads);
    if (!leader) return;
    const change = this.#choose(leader.raft!.configuration, machines);
    if (change) leader.change(change);
  }

  #choose(c: Configuration, machines: readonly Machine[]): ConfChange | undefined {
    const { random } = this.#site;
    const context = new Uint8Array(0);
    if (c.outgoing.length > 0) return { changes: [], transition: "auto", context };
    const members = membersOf(c);
    // Who is to be switched off is not asked in again.
    const spare = this.#site.retires ? [] : machines.filter((m) => !members.includes(m.id));
    const newcomer = () => (spare.shift() ?? this.#site.newMachine()).id;
    const changes: MemberChange[] = [];
    const add = () => changes.push({ type: random.chance(0.6) ? "addLearner" : "addVoter", id: newcomer() });
    const remove = () => changes.push({ type: "remove", id: random.pick(members) });
    const promote = () =>
      changes.push(
        ...random
          .shuffled(c.learners)
          .slice(0, 1)
          .map((id): MemberChange => ({ type: "addVoter", id })),
      );
    const demote = () => {
      if (c.voters.length > 1) changes.push({ type: "addLearner", id: random.pick(c.voters) });
    };
    const steps = random.pick([1, 1, 2, 4]);
    for (let i = 0; i < steps; i++) {
      if (steps === 4) changes.push(i % 2 === 0 ? { type: "addVoter", id: newcomer() } : { type: "remove", id: random.pick(c.voters) });
      else if (c.learners.length > 0 && random.chance(0.5)) promote();
      else if (members.length < 3 || (members.length < 6 && random.chance(0.5))) add();
      else if (random.chance(0.8)) remove();
      else demote();
    }
    // Keep enough of those that are up to go on with.
    const leavesVoters = c.voters.some((id) => isVoter(c, id) && !changes.some((ch) => ch.id === id && ch.type !== "addVoter"));
    if (changes.length === 0 || !leavesVoters || changes.some((a, i) => changes.findIndex((b) => b.id === a.id) !== i)) return undefined;
    return { changes, transition: random.pick(["auto", "auto", "joint", "explicit"] as const), context };
  }
}

function randomWeather(random: Random): Weather {
  const from = random.between(0.1, random.chance(0.2) ? 30 : 5);
  return {
    from,
    to: from + random.between(0.1, random.pick([10, 10, 10, 100, 400])),
    drop: random.chance(0.5) ? random.between(0, 0.2) : 0,
    double: random.chance(0.3) ? random.between(0, 0.2) : 0,
    late: random.chance(0.2) ? random.between(0, 0.1) : 0,
    ordered: random.chance(0.5),
  };
}
