// Whether members hold the same data: their hashes at one revision are compared
// (etcd's server/etcdserver/corrupt.go). A member that differs is a broken disk
// or a broken program, and what it answers can't be trusted.
import { logger } from "../platform/log.ts";
import { Code, type RpcError } from "../rpc/types.ts";
import { hashKv } from "./backup/hash.ts";
import { inSlices } from "./backup/slices.ts";
import type { Member } from "./member.ts";

/** Milliseconds that another member has to compute its hash. */
const TIMEOUT = 30_000;

interface Hash {
  hash: number;
  compactRevision: number;
}

async function ownHash(member: Member, revision: number): Promise<Hash> {
  using _hold = await member.holdHistory();
  return inSlices(hashKv(member.state.mvcc, revision));
}

/** The hash of another member, as of this revision or its newest before; undefined while it can't tell. */
async function hashOf(member: Member, id: bigint, revision: number): Promise<(Hash & { revision: number }) | undefined> {
  const ask = async (at: number) => {
    const found = await member.transport.peer(id)!.hashKV({ revision: BigInt(at) }, { timeout: TIMEOUT });
    return { hash: found.hash, compactRevision: Number(found.compactRevision), revision: Number(found.revision) };
  };
  try {
    return await ask(revision).catch((error: RpcError) => {
      // It is behind, or this one is ahead of what it should have.
      if (error.code !== Code.OutOfRange) throw error;
      return ask(0);
    });
  } catch (error) {
    logger("etcd").info("A member did not tell the hash of its data", { member: id.toString(16), error: String(error) }, 1);
    return undefined;
  }
}

/** The others whose data is not what this member has. */
export async function differing(member: Member): Promise<bigint[]> {
  const { mvcc, membership } = member.state;
  const { revision } = mvcc;
  const others = membership.members.filter((m) => m.id !== member.identity.memberId);
  const differ: bigint[] = [];
  for (const { id } of others) {
    const found = await hashOf(member, id, revision);
    if (!found || found.revision > revision || found.compactRevision > found.revision) continue;
    if (found.revision < mvcc.compactRevision) continue;
    const own = await ownHash(member, found.revision);
    // One that was compacted elsewhere hashes other revisions.
    if (found.compactRevision === own.compactRevision && found.hash !== own.hash) differ.push(id);
  }
  return differ;
}

/** Refuses to start with other data than the others have. Throws an Error in etcd's words. */
export async function checkAtStart(member: Member): Promise<void> {
  const found = await differing(member);
  if (found.length > 0) throw new Error(`${member.identity.memberId.toString(16)} found data inconsistency with peers`);
}

/** Compares every so many milliseconds while this member leads, and raises an alarm; returns what ends it. */
export function watchCorruption(member: Member, interval: number): () => void {
  let running = false;
  const look = async () => {
    if (running || !member.consensus.isLeader) return;
    running = true;
    try {
      await member.consensus.readBarrier();
      for (const memberId of await differing(member)) {
        const told = await member.alarm(true, { memberId, kind: "corrupt" });
        if (told) logger("etcd").error("A member has other data than the leader", undefined, { member: memberId.toString(16) });
      }
    } catch (error) {
      logger("etcd").warn("Could not compare the data of the members", { error: String(error) });
    } finally {
      running = false;
    }
  };
  const timer = setInterval(look, interval).unref();
  return () => clearInterval(timer);
}
