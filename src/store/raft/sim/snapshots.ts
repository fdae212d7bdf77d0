// The state machine as a snapshot carries it, in the store's own form.
import { SnapshotLoader, snapshotOf } from "../../snapshot/content.ts";
import { StateMachine } from "../../state.ts";
import type { Raft } from "../raft.ts";
import type { SavedState } from "./disk.ts";

/** The state as of now; undefined if Raft no longer knows the entry that it ends with. */
export function save(state: StateMachine, raft: Raft): SavedState | undefined {
  const meta = raft.metaAt(state.index);
  return meta && { meta, chunks: Array.from(snapshotOf(state).chunks, copyOf) };
}

/** A new state machine. @param now milliseconds, to date the leases */
export function load(saved: SavedState | undefined, now: number): StateMachine {
  const state = new StateMachine();
  if (!saved) return state;
  const loader = new SnapshotLoader(state, saved.meta);
  for (const chunk of saved.chunks) loader.add(chunk, now);
  loader.finish();
  return state;
}

/** Each chunk is overwritten by the next. */
function copyOf(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value) || typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, copyOf(part)]));
}
