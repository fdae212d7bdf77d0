// What each role does with the same inputs. Whoever does not lead passes on to
// the leader what only it can answer.

import type { Message, Propose } from "./messages.ts";
import type { Node } from "./node.ts";
import type { EntryType, Proposed, ReadMode, Refusal, Role } from "./types.ts";

export type ProposalKind = typeof EntryType.normal | typeof EntryType.confChange;

export abstract class RoleState {
  abstract readonly name: Role;
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }

  /** Takes a message that is of the member's own term. */
  abstract step(message: Message): void;

  /** Takes what a member passed on to the leader that it knew. Who does not lead refuses what would have an effect if it were asked again. */
  passedOn(m: Message): void {
    if (m.type === "propose") this.refuse(m, "no-leader");
  }

  protected refuse({ from, context }: Propose, refusal: Refusal): void {
    this.node.send({ type: "proposeRefused", from: this.node.id, to: from, term: 0, context, refusal });
  }

  tick(): void {
    const { node } = this;
    // Its own vote is promised, too.
    if (++node.elapsed < node.timeout || node.isLed) return;
    node.elapsed = 0;
    node.campaign();
  }

  propose(kind: ProposalKind, datas: readonly Uint8Array[]): Proposed {
    const { id, leader } = this.node;
    if (leader === 0n) return { refused: "no-leader" };
    const context = this.node.nextContext();
    this.node.send({ type: "propose", from: id, to: leader, term: 0, kind, datas, context });
    return { forwarded: leader, context };
  }

  readIndex(context: number, mode: ReadMode): boolean {
    const { id, leader } = this.node;
    if (leader === 0n) return false;
    this.node.send({ type: "readIndex", from: id, to: leader, term: 0, context, mode });
    return true;
  }

  transferLeader(target: bigint): boolean {
    const { id, leader } = this.node;
    if (leader === 0n) return false;
    this.node.send({ type: "transferLeader", from: id, to: leader, term: 0, target });
    return true;
  }

  /** Sends what the inputs since the last Ready add up to. */
  flush(): void {}

  /** More of the log is durable here. */
  durable(): void {}

  /** Another configuration is in effect. */
  configured(): void {}
}
