// What each role does with the same inputs. Whoever does not lead passes on to
// the leader what only it can answer.
import type { Node } from "./node.ts";
import type { EntryType, Message, Proposed, ReadMode, Role } from "./types.ts";

export type ProposalKind = typeof EntryType.normal | typeof EntryType.confChange;

export abstract class RoleState {
  abstract readonly name: Role;
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }

  /** Takes a message that is of the member's own term, or of none. */
  abstract step(message: Message): void;

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
    this.node.send({ type: "propose", from: id, to: leader, term: 0, kind, datas });
    return { forwarded: leader };
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
