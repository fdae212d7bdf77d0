// What a member that has started says of itself.
import { logger } from "../../platform/log.ts";
import type { Member } from "../member.ts";

/** Milliseconds between two attempts. */
const RETRY = 500;

/** Lets all members know this one's name and where it serves clients; again and again until they do. */
export function publish(member: Member, name: string, clientUrls: readonly string[]): void {
  const { memberId } = member.identity;
  const known = member.state.membership.get(memberId);
  if (!member.running || (known?.name === name && known.clientUrls.join() === clientUrls.join())) return;
  member.propose({ type: "memberPublish", id: memberId, name, clientUrls }).catch((error: unknown) => {
    if (!member.running) return;
    logger("etcd").warn("Could not publish the client URLs; trying again", { error: String(error) });
    setTimeout(() => publish(member, name, clientUrls), RETRY).unref();
  });
}
