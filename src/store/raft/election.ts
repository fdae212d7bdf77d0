// How a member answers who asks for its vote.
import { isVoter } from "./configuration.ts";
import type { Message, Vote } from "./messages.ts";
import type { Node } from "./node.ts";

export const isVoteRequest = (m: Message): m is Vote => m.type === "vote" || m.type === "preVote";

export function answerVote(node: Node, m: Vote): void {
  const pre = m.type === "preVote";
  if (m.term < node.term) {
    // A candidate that is behind learns the term; a pre-candidate needs it to ask for one that counts.
    refuse(node, m);
    return;
  }
  // Who hears from a leader does not help to depose it (section 4.2.3 of Ongaro's dissertation), unless it wants that itself.
  if (!m.transfer && node.isLed) return;
  if (!pre && m.term > node.term) node.follow(m.term, 0n);
  const free = pre && m.term > node.term ? true : node.vote === m.from || (node.vote === 0n && node.leader === 0n);
  const complete = node.log.isBehindOrSame(m.lastIndex, m.lastTerm);
  if (!free || !complete) {
    refuse(node, m);
    if (!complete) help(node);
    return;
  }
  if (!pre) node.setVote(m.from);
  node.send({ type: pre ? "preVoteResponse" : "voteResponse", from: node.id, to: m.from, term: m.term, granted: true });
}

function refuse(node: Node, m: Vote): void {
  const type = m.type === "preVote" ? "preVoteResponse" : "voteResponse";
  node.send({ type, from: node.id, to: m.from, term: node.term, granted: false });
}

/**
 * A member that knows that it has no vote any more, asked for it by one that
 * does not know that yet and lacks entries: together they could wait for ever.
 * So it leads them, not counting itself, until they know.
 */
function help(node: Node): void {
  if (!isVoter(node.configuration, node.id) && node.role.name === "follower") node.preElect();
}
