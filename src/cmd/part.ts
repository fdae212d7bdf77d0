// The command of a process that `up` starts for a part of a cluster on this
// machine: what it has to know lies in the data directory, and it tells `up` how
// far it is on its output.
import { setVerbosity } from "../platform/log.ts";
import { DetachedProgress } from "./cluster/progress.ts";
import { type ClusterFile, DataDir } from "./cluster/state.ts";
import { command, integer, text, UsageError, verbosity } from "./flags.ts";

/** What a part is started with. */
export interface PartStart {
  dir: DataDir;
  cluster: ClusterFile;
  /** Which of its kind. */
  index: number;
  progress: DetachedProgress;
  /** Resolves when it is to end. */
  ended: Promise<void>;
}

/** A part that runs. */
export interface Part {
  /** Where its apiserver is reached, and the file for kubectl, as `up` is told them. */
  server: string;
  kubeconfig?: string;
  /** Resolves when it can't go on: it is stopped, and the process fails. */
  broken?: Promise<unknown>;
  stop(): Promise<void>;
}

export interface PartOptions {
  name: string;
  summary: string;
  /** Of the flag --index: its default, what it says, and its least and most. */
  index: [value: number, what: string, range: [number, number]];
  start(start: PartStart): Promise<Part>;
}

export const partCommand = ({ name, summary, index: [value, what, range], start }: PartOptions) =>
  command({
    name,
    summary,
    flags: {
      "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
      index: integer("N", value, what, range),
      v: verbosity,
    },
    async run(values) {
      setVerbosity(values.v);
      // A terminal's and `up`'s may both come, and the second must not cut the end short.
      const ended = new Promise<void>((done) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => done());
      });
      const progress = new DetachedProgress();
      try {
        const dir = new DataDir(values["data-dir"]);
        const cluster = dir.read();
        if (!cluster) throw new UsageError(`no cluster in ${dir.path}`);
        const part = await start({ dir, cluster, index: values.index, progress, ended });
        progress.send({ type: "ready", server: part.server, kubeconfig: part.kubeconfig ?? "" });
        const code = await Promise.race([ended.then(() => 0), part.broken?.then(() => 1) ?? new Promise<never>(() => {})]);
        await part.stop();
        return code;
      } catch (e) {
        progress.send({ type: "failed", message: e instanceof Error ? e.message : String(e), usage: e instanceof UsageError });
        throw e;
      }
    },
  });
