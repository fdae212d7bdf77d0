// The defaults of a member's configuration.
import type { RaftConfig } from "./types.ts";

export type Options = Required<RaftConfig>;

const MiB = 1024 * 1024;

const DEFAULTS = {
  heartbeatTicks: 1,
  electionTicks: 10,
  tickMillis: 100,
  maxClockDrift: 0.1,
  maxMessageBytes: MiB / 2,
  maxInflight: 256,
  maxInflightBytes: 64 * MiB,
  maxUncommittedBytes: 256 * MiB,
  catchUpEntries: 5000,
  catchUpBytes: 64 * MiB,
};

/** Throws RangeError for what can't work. */
export function optionsOf(config: RaftConfig): Options {
  const options: Options = { ...DEFAULTS, ...config };
  if (config.id === 0n) throw new RangeError("0 is no member's id");
  if (options.heartbeatTicks < 1) throw new RangeError(`heartbeatTicks is ${options.heartbeatTicks}, and has to be 1 or more`);
  if (options.electionTicks <= options.heartbeatTicks) {
    throw new RangeError(`electionTicks is ${options.electionTicks}, and has to be more than the ${options.heartbeatTicks} of a heartbeat`);
  }
  if (!(options.maxClockDrift >= 0 && options.maxClockDrift < 1)) {
    throw new RangeError(`maxClockDrift is ${options.maxClockDrift}, and has to be at least 0 and less than 1`);
  }
  return options;
}
