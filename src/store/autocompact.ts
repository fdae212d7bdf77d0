// Compaction on a schedule, as etcd's --auto-compaction-mode has it.
import { logger } from "../platform/log.ts";
import type { Member } from "./member.ts";
import { Refused } from "./mvcc/errors.ts";

export type AutoCompaction =
  /** Keep what is younger than this many milliseconds. */
  | { mode: "periodic"; retention: number }
  /** Keep this many revisions. */
  | { mode: "revision"; retention: number };

const REVISION_CHECK = 5 * 60_000;
/** Samples of the revision that are taken in a retention period. */
const SAMPLES = 10;
/** Beyond an hour, etcd compacts hourly. */
const HOUR = 3_600_000;

/** Starts it; returns what ends it. */
export function startAutoCompaction(member: Member, { mode, retention }: AutoCompaction): () => void {
  const compact = (revision: number) => {
    if (revision <= member.state.mvcc.compactRevision) return;
    member.compact(revision).then(
      () => logger("etcd").info("Compacted by schedule", { mode, revision }, 1),
      (error: unknown) => {
        if (!(error instanceof Refused && error.refusal === "compacted"))
          logger("etcd").error("Could not compact by schedule", error, { mode, revision });
      },
    );
  };
  let timer: ReturnType<typeof setInterval>;
  if (mode === "revision") {
    timer = setInterval(() => compact(member.state.mvcc.revision - retention), REVISION_CHECK);
  } else {
    const samples: number[] = [];
    const keep = Math.ceil((retention / Math.min(retention, HOUR)) * SAMPLES);
    timer = setInterval(
      () => {
        samples.push(member.state.mvcc.revision);
        if (samples.length > keep) compact(samples.shift()!);
      },
      Math.max(100, Math.min(retention, HOUR) / SAMPLES),
    );
  }
  timer.unref();
  return () => clearInterval(timer);
}
