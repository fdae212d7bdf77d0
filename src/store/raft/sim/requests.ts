// What a simulated process was asked, and has not answered yet: proposals, by
// their tags, and reads.
import { encodeCommand } from "../../codec.ts";
import type { Command } from "../../command.ts";
import type { Raft } from "../raft.ts";
import type { Entry, ReadMode, RefusedProposal } from "../types.ts";
import type { World } from "./world.ts";

export type Answer = { ok: unknown } | { refused: string };

interface PendingRead {
  /** All that was committed when it was asked for. */
  least: number;
  index: number | undefined;
  /** The state includes it. */
  done: () => void;
  refuse: (why: string) => void;
}

/** Bytes in front of a command that tell it from all others. */
export const TAG = 8;

export const tagOf = ({ data }: Entry): number => new DataView(data.buffer, data.byteOffset).getFloat64(0);

export class Requests {
  readonly #id: bigint;
  readonly #world: Pick<World, "random" | "observer" | "unique">;
  /** Runs in this life of the process, or not at all. */
  readonly #later: (millis: number, run: () => void) => void;
  readonly #proposals = new Map<number, (answer: Answer) => void>();
  /** Passed on to the leader, by context. */
  readonly #forwarded = new Map<number, { tag: number; data: Uint8Array }>();
  readonly #reads = new Map<number, PendingRead>();

  constructor(id: bigint, world: Pick<World, "random" | "observer" | "unique">, later: (millis: number, run: () => void) => void) {
    this.#id = id;
    this.#world = world;
    this.#later = later;
  }

  /** Nobody is answered any more. */
  clear(): void {
    this.#proposals.clear();
    this.#forwarded.clear();
    this.#reads.clear();
  }

  propose(raft: Raft, command: Command, answer: (answer: Answer) => void): void {
    const tag = this.#world.unique();
    const body = encodeCommand(command);
    const data = new Uint8Array(TAG + body.length);
    new DataView(data.buffer).setFloat64(0, tag);
    data.set(body, TAG);
    this.#proposals.set(tag, answer);
    this.#propose(raft, tag, data);
  }

  #propose(raft: Raft, tag: number, data: Uint8Array): void {
    const proposed = raft.propose([data]);
    if ("forwarded" in proposed) this.#forwarded.set(proposed.context, { tag, data });
    if ("refused" in proposed) this.refuse(tag, proposed.refused);
  }

  /** Whoever proposed is told that it never will be applied. */
  refuse(tag: number, refused: string): void {
    this.#world.observer.refuses(tag);
    this.answer(tag, { refused });
  }

  answer(tag: number, answer: Answer): void {
    this.#proposals.get(tag)?.(answer);
    this.#proposals.delete(tag);
  }

  /** What another did not take is proposed again, or given up. */
  notTaken(raft: Raft, { context, refusal }: RefusedProposal): void {
    const forwarded = this.#forwarded.get(context);
    if (!forwarded) return;
    this.#forwarded.delete(context);
    const { random } = this.#world;
    if (random.chance(0.5)) return this.refuse(forwarded.tag, refusal);
    this.#later(random.between(0, 50), () => this.#propose(raft, forwarded.tag, forwarded.data));
  }

  /** @param least what was committed when the read was asked for */
  read(raft: Raft, mode: ReadMode, least: number, done: () => void, refuse: (why: string) => void): void {
    const context = this.#world.unique();
    this.#reads.set(context, { least, index: undefined, done, refuse });
    if (raft.readIndex(context, mode)) return;
    this.#reads.delete(context);
    refuse("no-leader");
  }

  /** What was asked of the leader before may never be answered. */
  leaderChanged(): void {
    for (const [context, read] of this.#reads) {
      if (read.index !== undefined) continue;
      this.#reads.delete(context);
      read.refuse("leader-changed");
    }
  }

  /** The read may be answered from there on. */
  mayRead(context: number, index: number): void {
    const read = this.#reads.get(context);
    if (!read) return;
    this.#world.observer.reads(this.#id, index, read.least);
    read.index = index;
  }

  /** Answers the reads that the state, applied up to there, includes. */
  answerReads(applied: () => number): void {
    for (const [context, read] of this.#reads) {
      if (read.index === undefined || read.index > applied()) continue;
      this.#reads.delete(context);
      read.done();
    }
  }
}
