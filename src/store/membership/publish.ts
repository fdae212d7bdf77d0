// What a member that has started says of itself.
import { logger } from "../../platform/log.ts";
import type { Member } from "../member.ts";

/** Milliseconds between two attempts. */
const RETRY = 500;

/**
 * Lets all members know this one's name and where it serves clients; again and
 * again until they do, or it stops. Resolves with whether they do: whether it takes part in the cluster.
 */
export async function publish(member: Member, name: string, clientUrls: readonly string[]): Promise<boolean> {
  const { memberId } = member.identity;
  while (member.running) {
    const known = member.state.membership.get(memberId);
    try {
      if (known?.name === name && known.clientUrls.join() === clientUrls.join()) await member.consensus.leaderKnown();
      else await member.propose({ type: "memberPublish", id: memberId, name, clientUrls });
      return true;
    } catch (error) {
      if (!member.running) return false;
      logger("etcd").warn("Could not publish the client URLs; trying again", { error: String(error) });
      await new Promise<void>((resolve) => setTimeout(resolve, RETRY).unref());
    }
  }
  return false;
}
