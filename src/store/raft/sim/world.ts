// What a simulated process has around it.
import type { RaftConfig, Status } from "../types.ts";
import type { Observer } from "./invariants.ts";
import type { Machine } from "./machine.ts";
import type { SimNetwork } from "./network.ts";
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
  /** How fast the clock of the next machine is. */
  rate(): number;
  trace(line: () => string): void;
  /** What happens to one of them, before anybody else hears of it. */
  events: {
    status(machine: Machine, status: Status): void;
    commits(machine: Machine): void;
    configured(machine: Machine): void;
    installs(machine: Machine): void;
    /** A change of members was applied, after which these are none any more. */
    removes(machine: Machine, ids: readonly bigint[]): void;
  };
}
