// When a member that was removed goes. The others may not know yet that they
// can do without it, and need its vote or its log to find that out
// (raft/types.ts): so it stays until Raft says that it may go, or each of them
// that it knows of its removal; and not for ever, for they may be gone too.
import { logger } from "../../platform/log.ts";
import type { Member } from "../member.ts";

/** Election timeouts for which a member that was removed stays at the most. */
const FAREWELL = 10;
/** Milliseconds between two questions to who has not said that it knows. */
const ASK = 200;
/** Milliseconds in which those who asked a member that goes are answered. */
const ANSWERED = 500;

export class Departure {
  readonly #member: Pick<Member, "identity" | "state" | "transport" | "running" | "onRemoved">;
  readonly #patience: number;
  readonly #know = new Set<bigint>();
  #over: PromiseWithResolvers<void> | undefined;
  #asking: ReturnType<typeof setInterval> | undefined;
  #waiting: ReturnType<typeof setTimeout> | undefined;

  /** @param electionTimeout milliseconds */
  constructor(member: Pick<Member, "identity" | "state" | "transport" | "running" | "onRemoved">, electionTimeout: number) {
    this.#member = member;
    this.#patience = FAREWELL * electionTimeout;
  }

  get begun(): boolean {
    return this.#over !== undefined;
  }

  /** Whether the member's own state says that it was removed. */
  get isDue(): boolean {
    return this.#member.state.membership.wasRemoved(this.#member.identity.memberId);
  }

  /** Resolves when it may go. */
  begin(): Promise<void> {
    if (this.#over) return this.#over.promise;
    const { memberId } = this.#member.identity;
    logger("etcd").warn("The member has been permanently removed from the cluster", { member: memberId.toString(16) });
    this.#over = Promise.withResolvers();
    this.#asking = setInterval(() => this.#ask(), ASK);
    this.#waiting = setTimeout(() => this.end(), this.#patience);
    return this.#over.promise;
  }

  /** It is no member any more, and stops when it may. */
  leave(): void {
    if (this.begun || !this.#member.running) return;
    this.begin().then(() => {
      if (this.#member.running) setTimeout(() => this.#member.onRemoved(), ANSWERED);
    });
  }

  /** Another member says that this one was removed, and listens to it no more. */
  refused(by: bigint): void {
    this.leave();
    this.#know.add(by);
    if (this.#others().every((id) => this.#know.has(id))) this.end();
  }

  /** It may go, if it is to. Idempotent. */
  end(): void {
    clearInterval(this.#asking);
    clearTimeout(this.#waiting);
    this.#over?.resolve();
  }

  #others(): bigint[] {
    const { state, identity } = this.#member;
    return state.membership.members.flatMap(({ id }) => (id === identity.memberId ? [] : [id]));
  }

  #ask(): void {
    for (const id of this.#others()) if (!this.#know.has(id)) this.#member.transport.takeLeave(id);
  }
}
