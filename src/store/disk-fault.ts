// What a member does while its disk takes no writes.
import { type Logger, logger } from "../platform/log.ts";
import type { Member } from "./member.ts";
import { Refused } from "./mvcc/errors.ts";
import type { WalError } from "./wal/wal.ts";

/** How long a full disk is left alone before a write tries it again. */
const RETRY_FULL_DISK = 1000;
/** Milliseconds that the leader has to raise the alarm of a full disk. */
const REPORT_TIMEOUT = 5000;

export class DiskFault {
  readonly #member: Pick<Member, "consensus" | "transport" | "onBroken">;
  readonly #log: Logger = logger("etcd");
  /** Why the disk takes no more writes, and since when. */
  #failure: { error: WalError; at: number } | undefined;

  constructor(member: Pick<Member, "consensus" | "transport" | "onBroken">) {
    this.#member = member;
  }

  /** Why the log can't be written to any more, in words. */
  get message(): string | undefined {
    return this.#failure?.error.message;
  }

  /** Whether the disk is full. */
  get noSpace(): boolean {
    return this.#failure?.error.noSpace === true;
  }

  /** The refusal of what would have to be written. */
  get refusal(): Refused | undefined {
    if (!this.#failure) return undefined;
    const { error, at } = this.#failure;
    if (error.broken) return new Refused("storage-failed", { cause: error });
    // One of several tries again by itself; one that is alone, with the next write.
    if (this.#member.consensus.alone && performance.now() - at >= RETRY_FULL_DISK) return undefined;
    return new Refused(error.noSpace ? "no-space" : "storage-failed", { cause: error });
  }

  /** Why a member of several can take part no more. */
  get broken(): WalError | undefined {
    return this.#failure?.error.broken && !this.#member.consensus.alone ? this.#failure.error : undefined;
  }

  failed(error: WalError): void {
    const before = this.#failure;
    if (!before) this.#log.error("The write-ahead log takes no more writes", error, { broken: error.broken });
    this.#failure = { error, at: performance.now() };
    if (this.#member.consensus.alone) return;
    if (error.noSpace) this.report();
    else if (error.broken && !before?.error.broken) this.#member.onBroken(error);
  }

  recovered(): void {
    if (!this.#failure || this.#failure.error.broken) return;
    this.#log.info("The write-ahead log takes writes again");
    this.#failure = undefined;
  }

  /** A full disk is to be tried again at once; false if it is none. */
  forgive(): boolean {
    const { noSpace } = this;
    if (noSpace) this.#failure = undefined;
    return noSpace;
  }

  /**
   * The alarm of a full disk has to stand in the log, where this member can't
   * write: the leader does it. Called again with each write that the disk
   * refuses, so that an alarm which is disarmed too early comes back.
   */
  report(): void {
    const { consensus, transport } = this.#member;
    // One that leads hands over first; one that is alone can only say so itself.
    const leader = !this.noSpace || consensus.isLeader ? undefined : transport.peer(consensus.leader);
    leader?.reportNoSpace({}, { timeout: REPORT_TIMEOUT }).catch((error: unknown) => {
      this.#log.info("Could not have the alarm NOSPACE raised; trying again", { error: String(error) }, 1);
    });
  }
}
