// Real cores in the real shell, without a disk or sockets: the test says when
// the disk has something, and what gets lost.
import { encodeCommand } from "../codec.ts";
import type { Command } from "../command.ts";
import { RaftConsensus } from "../consensus/driver.ts";
import { ENVELOPE } from "../consensus/envelope.ts";
import type { Host, Timing } from "../consensus.ts";
import type { Message } from "../raft/messages.ts";
import { Raft } from "../raft/raft.ts";
import type { ConfChange, MemberChange, StoredState } from "../raft/types.ts";
import type { Wal } from "../wal/wal.ts";

/** Ticks of an election timeout. */
const ELECTION = 5;
const TIMING: Timing = { tickMillis: 10, electionMillis: 10 * ELECTION, reads: "quorum" };

const NOTHING: Host = {
  apply: (entry) => entry.index,
  changed() {},
  passed() {},
  applied() {},
  install: async () => {},
  status() {},
  failed() {},
  lost() {},
  recovered() {},
  dismissed() {},
};

export interface CoreOptions {
  host?: Partial<Host>;
  /** Takes a write; what it throws is the disk's error. */
  append?: () => Promise<void>;
  timing?: Partial<Timing>;
  /** Ticks without a leader until it campaigns. */
  electionTicks?: number;
  /** False for a message that gets lost. */
  send?: (message: Message) => void;
}

export interface Core {
  readonly raft: Raft;
  readonly consensus: RaftConsensus;
}

export function core(id: bigint, stored: StoredState, { host, append, timing, electionTicks = ELECTION, send }: CoreOptions = {}): Core {
  const raft = new Raft({ id, random: Math.random, clock: () => performance.now(), electionTicks, tickMillis: TIMING.tickMillis }, stored);
  const wal = { append: append ?? (async () => {}), restart() {}, hardState: undefined } as unknown as Wal;
  const network = {
    send: (messages: readonly Message[]) => messages.forEach((m) => send?.(m)),
    connectedSince: () => 0,
    stopping: () => false,
  };
  const consensus = new RaftConsensus(raft, wal, stored.base.index, { ...NOTHING, ...host }, network, { ...TIMING, ...timing });
  return { raft, consensus };
}

export const command: Command = { type: "txn", compare: [], success: [], failure: [] };
export const sealed = () => Buffer.concat([new Uint8Array(ENVELOPE), encodeCommand(command)]);
/** Resolves with the index of a new entry, once it is applied. */
export const write = ({ consensus }: Core) => consensus.propose(command, sealed()) as unknown as Promise<number>;

export const confChange = (type: MemberChange["type"], id: bigint): ConfChange => ({
  changes: [{ type, id }],
  transition: "auto",
  context: new Uint8Array(0),
});
