// Faults in the order that hurts most: what chance alone brings together once
// in thousands of histories. Each only cuts links, stops or crashes processes,
// slows disks and asks for what an operator may ask for.
import { membersOf } from "../configuration.ts";
import type { MemberChange, Status } from "../types.ts";
import type { Site } from "./faults.ts";
import type { Machine } from "./machine.ts";

const PLOTS = {
  olderTerm: 3,
  twoSuccessors: 3,
  halves: 3,
  forgetfulLeader: 2,
  unawareLeader: 4,
  nap: 2,
  hurry: 2,
  farewell: 2,
  install: 2,
};

/** Longest time in milliseconds that a plot waits for something to happen. */
const PATIENCE = 900;

interface Awaited {
  is: (machine: Machine, what: "status" | "commit" | "configuration", status?: Status) => boolean;
  then: (machine: Machine) => void;
}

export class Plots {
  readonly #site: Site;
  #awaited: Awaited | undefined;
  #busy = false;

  constructor(site: Site) {
    this.#site = site;
  }

  /** Whether one is under way, which other faults would mostly spoil. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Begins one, if none is under way. */
  begin(): void {
    if (this.#busy) return;
    const leader = this.#newestLeader();
    if (!leader) return;
    this.#busy = true;
    const plot = this.#site.random.weighted(PLOTS);
    this.#site.trace(() => `plot ${plot}`);
    this.#site.network.heal();
    this[plot](leader);
  }

  end(): void {
    this.#awaited = undefined;
    this.#busy = false;
  }

  /** Something happened to a machine, and nobody else has heard. */
  happens(machine: Machine, what: "status" | "commit" | "configuration", status?: Status): void {
    const awaited = this.#awaited;
    if (!awaited?.is(machine, what, status)) return;
    this.#awaited = undefined;
    awaited.then(machine);
  }

  /**
   * Figure 8 of the Raft paper: a leader's entry that nobody else has, another
   * leader's at the same index, and the first one back, until it says that its
   * old entry is committed; then the other again.
   */
  olderTerm(first: Machine): void {
    const { network } = this.#site;
    this.#isolate(first);
    this.#write(first);
    this.#whenLeads(first, (rival) => {
      this.#isolate(rival);
      this.#later(5, 40, () => {
        network.heal();
        this.#isolate(rival);
        this.#urge(first);
        this.#when(
          (m, what) => m === first && what === "commit" && m.leads,
          () => {
            network.heal();
            this.#isolate(first);
            this.#urge(rival);
            this.#whenLeads(first, () => this.#finish());
          },
        );
      });
    });
  }

  /** A leader tells two others to take over, and whoever votes forgets it. */
  twoSuccessors(leader: Machine): void {
    const { random } = this.#site;
    const machines = random.shuffled(this.#site.machines());
    const slow = random.between(2, 60);
    for (const m of machines) m.disk.latency = () => random.between(0.1, slow);
    for (const m of machines.filter((m) => m !== leader).slice(0, 2)) this.#later(0, 3, () => leader.transfer(m.id));
    for (const m of [leader, random.pick(machines)]) this.#later(1, 40, () => this.#reboot(m, random.between(0, 8)));
    this.#later(100, 300, () => {
      for (const m of machines) m.disk.latency = () => random.between(0.1, 3);
      this.#finish();
    });
  }

  /** Most voters are replaced, and the moment that the leader knows it, new and old ones lose sight of each other. */
  halves(leader: Machine): void {
    const { random, network, machines } = this.#site;
    const { voters, outgoing } = leader.raft!.configuration;
    if (outgoing.length > 0 || machines().length > 10) return this.#finish();
    const leaving = random.shuffled(voters.filter((id) => id !== leader.id)).slice(0, random.pick([1, 2, 2, voters.length]));
    const joining = (leaving.length > 0 ? leaving : [1n]).map(() => this.#site.newMachine());
    const changes: MemberChange[] = [
      ...joining.map(({ id }) => ({ type: "addVoter", id }) as const),
      ...leaving.map((id) => ({ type: "remove", id }) as const),
    ];
    leader.change({ changes, transition: random.pick(["auto", "joint", "explicit"]), context: new Uint8Array(0) });
    const side = new Set([leader.id, ...joining.map((m) => m.id)]);
    this.#when(
      (m, what) => m === leader && what === "configuration",
      () => {
        for (const a of machines()) {
          for (const b of machines()) if (side.has(a.id) !== side.has(b.id)) network.cut(a.id, b.id);
        }
        for (let i = 0; i < 4; i++) this.#later(10, 150, () => this.#write(leader));
        for (const m of machines()) if (!side.has(m.id)) this.#urge(m);
        this.#later(300, PATIENCE, () => this.#finish());
      },
    );
  }

  /** The leader's disk is slow; when it says that something is committed, it forgets it, and so do others. */
  forgetfulLeader(leader: Machine): void {
    const { random, machines } = this.#site;
    const slow = random.between(20, 150);
    leader.disk.latency = () => random.between(slow / 2, slow);
    this.#later(0, 20, () => {
      this.#write(leader);
      this.#when(
        (m, what) => m === leader && what === "commit",
        () => {
          const others = machines().filter((m) => m !== leader);
          if (others.length > 0) this.#isolate(random.pick(others));
          if (random.chance(0.3)) this.#isolate(leader);
          this.#later(0, 2, () => {
            this.#reboot(leader, random.between(0, 20));
            leader.disk.latency = () => random.between(0.1, 3);
            this.#later(250, 600, () => this.#finish());
          });
        },
      );
    });
  }

  /** One that does not hear the leader wants to lead; once it may win, the leader hears nothing more. */
  unawareLeader(leader: Machine): void {
    const { random, network, machines } = this.#site;
    const others = random.shuffled(machines().filter((m) => m !== leader && m.up));
    const [rival] = others;
    if (!rival) return this.#finish();
    const before = random.pick(["transfer", "reboots", "nothing"]);
    if (before === "transfer") leader.transfer(random.pick(others).id);
    if (before === "reboots") for (const m of others) this.#later(0, 30, () => this.#reboot(m, random.between(0, 8)));
    const all = random.chance(0.5);
    this.#later(0, 10, () => (all ? this.#isolate(leader) : network.cut(leader.id, rival.id)));
    for (const m of all ? others : [rival]) this.#urge(m);
    this.#when(
      (m, what, status) => m !== leader && what === "status" && (status?.role === "candidate" || status?.role === "leader"),
      (m) => {
        this.#isolate(leader);
        this.#write(m);
        for (let i = 0; i < 3; i++) this.#later(1, 30, () => this.#write(m));
        this.#later(100, 400, () => this.#finish());
      },
    );
  }

  /** The leader sleeps while others elect another, and is asked at once when it wakes up. */
  nap(leader: Machine): void {
    const { random, electionMillis } = this.#site;
    leader.stop(random.between(0.9, 3) * electionMillis);
    this.#whenLeads(leader, (m) => {
      for (let i = 0; i < 3; i++) this.#later(1, 30, () => this.#write(m));
      this.#later(50, 300, () => this.#finish());
    });
  }

  /** The timers of all others fire as if they had not heard the leader for long, which hears nobody. */
  hurry(leader: Machine): void {
    const { random, machines } = this.#site;
    this.#isolate(leader);
    for (const m of machines()) if (m !== leader) m.burst(10 + random.below(15));
    this.#whenLeads(leader, (m) => {
      for (let i = 0; i < 3; i++) this.#later(1, 30, () => this.#write(m));
      this.#later(50, 300, () => this.#finish());
    });
    for (const m of machines()) if (m !== leader) this.#urge(m);
  }

  /** The leader removes itself, with so many others that those who stay can't tell without it, and is not heard when it knows. */
  farewell(leader: Machine): void {
    const { random } = this.#site;
    const { voters, outgoing } = leader.raft!.configuration;
    if (outgoing.length > 0 || voters.length < 2) return this.#finish();
    const others = random.shuffled(voters.filter((id) => id !== leader.id)).slice(1 + random.below(2));
    const changes = [leader.id, ...others].map((id) => ({ type: "remove", id }) as const);
    leader.change({ changes, transition: "auto", context: new Uint8Array(0) });
    this.#when(
      (m, what) => m === leader && what === "configuration" && !membersOf(m.raft!.configuration).includes(m.id),
      () => {
        this.#isolate(leader);
        this.#later(50, 500, () => this.#finish());
      },
    );
  }

  /** A leader that nobody hears has a long log; others replace it by a snapshot, and it crashes over that. */
  install(leader: Machine): void {
    const { random, network } = this.#site;
    this.#isolate(leader);
    for (let i = 5 + random.below(20); i > 0; i--) this.#write(leader);
    this.#whenLeads(leader, (m) => {
      for (let i = random.below(8); i > 0; i--) this.#later(0, 30, () => this.#write(m));
      this.#later(30, 60, () => {
        m.snapshot();
        network.heal();
        const slow = random.between(5, 40);
        leader.disk.latency = () => random.between(slow / 2, slow);
        this.#later(20, 200, () => this.#reboot(leader, 1));
        this.#later(200, 300, () => {
          leader.disk.latency = () => random.between(0.1, 3);
          this.#finish();
        });
      });
    });
  }

  #write(machine: Machine): void {
    this.#site.write(machine);
  }

  /** Until it leads, or the plot is over. */
  #urge(machine: Machine): void {
    if (!this.#busy || machine.leads) return;
    machine.campaign();
    this.#later(1, 8, () => this.#urge(machine));
  }

  #whenLeads(but: Machine, then: (machine: Machine) => void): void {
    this.#when((m, what, status) => m !== but && what === "status" && status?.role === "leader", then);
  }

  #when(is: Awaited["is"], then: Awaited["then"]): void {
    const awaited = { is, then };
    this.#awaited = awaited;
    this.#site.schedule.after(PATIENCE, () => {
      if (this.#awaited === awaited) this.#finish();
    });
  }

  /** While the plot goes on. */
  #later(from: number, to: number, run: () => void): void {
    const { schedule, random } = this.#site;
    schedule.after(random.between(from, to), () => {
      if (this.#busy) run();
    });
  }

  #finish(): void {
    this.end();
    this.#site.network.heal();
  }

  #isolate(machine: Machine): void {
    const { network, machines } = this.#site;
    for (const m of machines()) {
      if (m === machine) continue;
      network.cut(machine.id, m.id);
      network.cut(m.id, machine.id);
    }
  }

  #reboot(machine: Machine, millis: number): void {
    if (!machine.up) return;
    machine.crash();
    this.#site.schedule.after(millis, () => {
      if (!machine.up) machine.start();
    });
  }

  #newestLeader(): Machine | undefined {
    const leaders = this.#site.machines().filter((m) => m.leads);
    return leaders.sort((a, b) => b.raft!.status.term - a.raft!.status.term)[0];
  }
}
