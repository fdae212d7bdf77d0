// How a scenario's outcome is written: a line for each thing that happens.
import { membersOf } from "../configuration.ts";
import type { Message } from "../messages.ts";
import { type Configuration, type Entry, EntryType, type HardState, type Position } from "../types.ts";

const at = ({ index, term }: Position) => `${index}/${term}`;

/** `5/2 "foo"`: index, term, data, or how much of it there is. */
export function entryText(e: Entry): string {
  if (e.type === EntryType.empty) return `${at(e)} -`;
  if (e.data.length > 30) return `${at(e)} ${e.data.length} bytes`;
  return `${at(e)} ${e.type === EntryType.confChange ? "change" : JSON.stringify(Buffer.from(e.data).toString())}`;
}

/** Lists of more than four are cut short. */
export function entriesText(entries: readonly Entry[]): string {
  if (entries.length <= 4) return entries.map(entryText).join(", ");
  return `${entryText(entries[0]!)} … ${entryText(entries.at(-1)!)}`;
}

const ids = (list: readonly bigint[]) => `(${list.join(",")})`;

export function configurationText(c: Configuration): string {
  const parts = [`voters=${ids(c.voters)}`];
  if (c.outgoing.length > 0) parts.push(`outgoing=${ids(c.outgoing)}`);
  if (c.learners.length > 0) parts.push(`learners=${ids(c.learners)}`);
  if (c.learnersNext.length > 0) parts.push(`learners-next=${ids(c.learnersNext)}`);
  if (c.autoLeave) parts.push("auto-leave");
  return membersOf(c).length === 0 ? "nobody" : parts.join(" ");
}

export function hardStateText({ term, vote, commit }: HardState): string {
  return `term ${term}${vote === 0n ? "" : ` vote ${vote}`} commit ${commit}`;
}

/** What a message says, without sender and receiver. */
export function messageText(m: Message): string {
  const term = m.term === 0 ? "" : ` t${m.term}`;
  return `${m.type}${term}${bodyText(m)}`;
}

function bodyText(m: Message): string {
  switch (m.type) {
    case "append":
      return ` after ${m.prevIndex}/${m.prevTerm} [${entriesText(m.entries)}] commit ${m.commit}`;
    case "appendResponse":
      return m.rejected ? ` rejects ${m.index}, hint ${m.hintIndex}/${m.hintTerm}` : ` has ${m.index}`;
    case "heartbeat":
      return ` commit ${m.commit}${m.round > 0 ? ` round ${m.round}` : ""}`;
    case "heartbeatResponse":
      return m.round > 0 ? ` round ${m.round}` : "";
    case "vote":
    case "preVote":
      return ` log ${m.lastIndex}/${m.lastTerm}${m.transfer ? " transfer" : ""}`;
    case "voteResponse":
    case "preVoteResponse":
      return m.granted ? " yes" : " no";
    case "snapshot":
      return ` ${at(m.meta)} ${configurationText(m.meta.configuration)}`;
    case "propose":
      return ` ${m.kind === EntryType.confChange ? "change" : JSON.stringify(m.datas.map((d) => Buffer.from(d).toString()))}`;
    case "proposeRefused":
      return ` ${m.refusal}`;
    case "readIndex":
      return ` ${m.context} ${m.mode}`;
    case "readIndexResponse":
      return ` ${m.context} at ${m.index}`;
    case "transferLeader":
      return ` to ${m.target}`;
    case "timeoutNow":
      return "";
  }
}
