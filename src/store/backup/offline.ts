// A snapshot of a store that nobody runs, from its data directory.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Member } from "../member.ts";
import { DirectoryLocked } from "../wal/lock.ts";
import { backupOf } from "./backup.ts";

/** Where a store's files are: the folder itself, or the one that a cluster of one control plane has for them. Throws where there is none. */
function storeIn(dir: string): string {
  const found = [dir, join(dir, "etcd")].find((d) => existsSync(join(d, "wal")) || existsSync(join(d, "member")));
  if (found) return found;
  throw new Error(`${dir} holds no store${existsSync(join(dir, "control-plane1")) ? ` of one member; ${ASK}` : ""}`);
}

const ASK = "take the snapshot of a member that runs, by its address (--endpoints)";

/**
 * The file that Maintenance.Snapshot streams, piece by piece, with its SHA-256
 * in the end. Members of several are refused: one alone does not know what the
 * others have acknowledged.
 *
 * @throws DirectoryLocked while a process has the directory, CorruptFile, or an Error that says what is wrong
 */
export async function* offlineSnapshot(dir: string): AsyncGenerator<Uint8Array> {
  const dataDir = storeIn(dir);
  const member = new Member({ dataDir });
  try {
    await member.open();
  } catch (error) {
    if (error instanceof DirectoryLocked) throw new Error(`${error.message}: stop that first, or ${ASK}`, { cause: error });
    throw error;
  }
  try {
    const { members } = member.state.membership;
    if (members.length > 1) throw new Error(`${dataDir} is that of one of ${members.length} members; ${ASK}`);
    // What the log has beyond the last commit that it tells of counts where nobody else votes.
    await member.consensus.readBarrier();
    const self = { id: member.identity.memberId, name: "default", peerUrls: [], clientUrls: [], isLearner: false };
    const hash = new Bun.CryptoHasher("sha256");
    for (const chunk of (await backupOf(member, self)).chunks()) {
      hash.update(chunk);
      yield chunk;
    }
    yield hash.digest();
  } finally {
    await member.stop();
  }
}
