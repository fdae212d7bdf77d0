/**
 * A system that a command runs. `up` starts several in one process, a
 * component's own command starts one.
 */
export interface Component {
  /** The name that upstream gives it: kube-apiserver, etcd, kube-scheduler, … */
  readonly name: string;
  /** Resolves once it serves; rejects with what keeps it from that. */
  start(): Promise<void>;
  /** What keeps it from being ready, in words; undefined when it is. */
  notReady(): string | undefined;
  /** Where it can be reached, if anywhere: "https://127.0.0.1:6443". */
  readonly address?: string;
  /** Set for one that runs elsewhere and is only used from here: the version that it says it has. */
  readonly elsewhere?: string;
  /** Looks anew, where notReady tells what the last look found. */
  refresh?(): Promise<void>;
  /** Ends it cleanly. Containers keep running. Idempotent. */
  stop(): Promise<void>;
}
