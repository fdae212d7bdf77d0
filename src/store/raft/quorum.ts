// Majorities. A commit index, a confirmed round of reads and a lease are one
// question: how far has a majority come? In a joint configuration, a majority
// of both halves.
import type { Configuration } from "./types.ts";

const scratch: number[] = [];

/** The largest value that a majority of the members has reached; Infinity if there are none, who hinder nobody. */
export function reached(members: readonly bigint[], progressOf: (id: bigint) => number): number {
  const n = members.length;
  if (n === 0) return Infinity;
  if (n === 1) return progressOf(members[0]!);
  // Insertion sort, descending: there are a handful, and they are nearly in order.
  for (let i = 0; i < n; i++) {
    const value = progressOf(members[i]!);
    let at = i;
    for (; at > 0 && scratch[at - 1]! < value; at--) scratch[at] = scratch[at - 1]!;
    scratch[at] = value;
  }
  return scratch[n >> 1]!;
}

/** The same for a configuration, joint or not. */
export function agreed(configuration: Configuration, progressOf: (id: bigint) => number): number {
  const { voters, outgoing } = configuration;
  const incoming = reached(voters, progressOf);
  return outgoing.length === 0 ? incoming : Math.min(incoming, reached(outgoing, progressOf));
}

export type Outcome = "won" | "lost" | "open";

/** How a vote stands; `voteOf` is undefined for who has not voted yet. */
export function outcome(configuration: Configuration, voteOf: (id: bigint) => boolean | undefined): Outcome {
  // Yes counts as 2, an open vote as 1: a majority at 2 has won, one that can't reach 1 has lost.
  const value = (id: bigint) => {
    const vote = voteOf(id);
    return vote === undefined ? 1 : vote ? 2 : 0;
  };
  return (["lost", "open", "won"] as const)[Math.min(agreed(configuration, value), 2)]!;
}
