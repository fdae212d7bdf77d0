// The way in: a data directory of kubun's out of an etcd's snapshot, for a
// member of a new cluster. Every member restores the same file with the same
// --initial-cluster, and so begins with the same state and the same ids.
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { syncDirectory } from "../../platform/files.ts";
import { checkInitialCluster, newCluster, parseInitialCluster } from "../membership/bootstrap.ts";
import { snapshotOf } from "../snapshot/content.ts";
import { writeSnapshot } from "../snapshot/file.ts";
import { StateMachine } from "../state.ts";
import { Wal } from "../wal/wal.ts";
import { openSnapshot } from "./file.ts";
import { loadBackend } from "./load.ts";

export interface RestoreOptions {
  /** Must not be there, or be empty. */
  dataDir: string;
  /** The member's name, one of `initialCluster`. */
  name: string;
  /** NAME=URL,… of all members. */
  initialCluster: string;
  initialClusterToken: string;
  initialAdvertisePeerUrls: readonly string[];
  /** For a backend that was copied from a data directory, which has no hash. */
  skipHashCheck: boolean;
  /** By how much the revision is raised above the snapshot's, so that it is above all that clients saw later; default 0. */
  bumpRevision?: number;
}

/** Entries and snapshots of a new cluster begin with this term. */
const TERM = 1;

export interface Restored {
  clusterId: bigint;
  memberId: bigint;
  revision: number;
  keys: number;
}

/** @throws BootstrapError, CorruptFile, or an Error that says what is wrong */
export async function restoreSnapshot(path: string, options: RestoreOptions): Promise<Restored> {
  const cluster = parseInitialCluster(options.initialCluster);
  checkInitialCluster(options.name, options.initialAdvertisePeerUrls, cluster);
  const dataDir = resolve(options.dataDir);
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0)
    throw new Error(`data-dir "${options.dataDir}" not empty or could not be read`);
  using file = openSnapshot(path);
  if (!options.skipHashCheck) file.checkHash();

  const state = new StateMachine();
  loadBackend(file.db, state, performance.now(), options.bumpRevision);
  const { clusterId, memberId, membership } = newCluster(options.name, cluster, options.initialClusterToken);
  state.membership.restore(membership);
  // As if the log had begun with an entry for each member.
  state.index = membership.members.length;
  state.term = TERM;

  // Made aside: a restore that is interrupted leaves nothing that a member would start from.
  const aside = `${dataDir}.restoring`;
  rmSync(aside, { recursive: true, force: true });
  try {
    const snapDir = join(aside, "snap");
    mkdirSync(snapDir, { recursive: true, mode: 0o700 });
    const { id, chunks } = snapshotOf(state);
    await writeSnapshot(snapDir, id, chunks);
    const visit = { entry() {}, truncate() {}, hardState() {} };
    const hardState = { term: TERM, vote: 0n, commit: state.index };
    Wal.open(join(aside, "wal"), { create: () => ({ clusterId, memberId, hardState }), after: state.index, visit }).close();
    syncDirectory(aside);
    if (existsSync(dataDir)) rmdirSync(dataDir);
    renameSync(aside, dataDir);
    syncDirectory(dirname(dataDir));
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    throw error;
  }
  return { clusterId, memberId, revision: state.mvcc.revision, keys: state.mvcc.keys.live };
}
