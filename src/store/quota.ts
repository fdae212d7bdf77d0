// What is too large for a store, and the alarm when it is as large as it may be.
import { logger } from "../platform/log.ts";
import type { Command } from "./command.ts";
import type { Member } from "./member.ts";
import { Refused } from "./mvcc/errors.ts";
import { hasPut } from "./mvcc/txn.ts";
import { DEFAULT_MAX_REQUEST, DEFAULT_QUOTA, type MemberOptions } from "./options.ts";

/** Bytes that etcd's entry has around a request (InternalRaftRequest and its header), give or take one: they count too. */
const AROUND = 17;

export class Quota {
  readonly bytes: number;
  readonly #maxRequestBytes: number;
  readonly #member: Pick<Member, "state" | "identity" | "propose">;

  constructor(member: Pick<Member, "state" | "identity" | "propose">, options: MemberOptions) {
    this.#member = member;
    this.bytes = options.quotaBackendBytes || DEFAULT_QUOTA;
    this.#maxRequestBytes = options.maxRequestBytes ?? DEFAULT_MAX_REQUEST;
  }

  /** @param bytes of the command */
  tooLarge(bytes: number): boolean {
    return bytes + AROUND > this.#maxRequestBytes;
  }

  /** @param bytes of the command */
  exceeds(command: Command, bytes: number): boolean {
    if (this.#member.state.size + bytes < this.bytes) return false;
    return command.type === "leaseGrant" || (command.type === "txn" && hasPut(command));
  }

  /** The refusal of what would go over the quota, once the alarm that keeps every later put out is raised. */
  async refuse(): Promise<Refused> {
    const { state, identity } = this.#member;
    if (!state.full) {
      logger("etcd").warn("The store is as large as its quota allows", { size: state.size, quota: this.bytes });
      await this.#member.propose({ type: "alarm", raise: true, alarm: { memberId: identity.memberId, kind: "nospace" } });
    }
    return new Refused("no-space");
  }
}
