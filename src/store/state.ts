// The state machine that the log drives: every member that applies the same
// entries holds the same keys, leases and alarms.
import { Auth } from "./auth/auth.ts";
import { permitCommand } from "./auth/check.ts";
import type { Alarm, AnswerOf, Answers, Command } from "./command.ts";
import { Lessor } from "./lease/lessor.ts";
import { Membership } from "./membership/members.ts";
import { Refused } from "./mvcc/errors.ts";
import { Mvcc } from "./mvcc/mvcc.ts";
import { applyTxn, hasPut } from "./mvcc/txn.ts";
import type { TxnAnswer, TxnRequest } from "./mvcc/types.ts";
import { CLUSTER_VERSION } from "./version.ts";

/** What members, users, alarms and the like are counted as: a page of bbolt's. */
const FIXED = 4096;
/** What a lease costs, as etcd counts it for its quota. */
const LEASE = 64;

export class StateMachine {
  readonly lessor = new Lessor();
  readonly mvcc = new Mvcc((key, before, after) => this.lessor.attach(key, before, after));
  readonly auth = new Auth();
  readonly membership = new Membership();
  #alarms: Alarm[] = [];
  /** The newest entry applied, and its term. */
  index = 0;
  term = 0;
  /** The release that the cluster is being downgraded to; empty: none. */
  downgradeTarget = "";

  /** What all members are able to: that of the target while a downgrade is under way. */
  get clusterVersion(): string {
    return this.downgradeTarget || this.membership.version || CLUSTER_VERSION;
  }

  /**
   * Bytes that the state takes, as etcd's database file would: it grows with the
   * history, keeps its size when history is compacted away, and shrinks when it
   * is defragmented, or read back at a start. What the quota is compared with.
   */
  get size(): number {
    return this.mvcc.allocated + this.#besides;
  }

  /** Bytes of it that hold something. */
  get sizeInUse(): number {
    return this.mvcc.size + this.#besides;
  }

  /** What is no key. */
  get #besides(): number {
    return FIXED + this.lessor.size * LEASE;
  }

  get alarms(): readonly Alarm[] {
    return this.#alarms;
  }

  /** Whether an alarm forbids to store more. */
  get full(): boolean {
    return this.#alarms.some((a) => a.kind === "nospace");
  }

  get corrupt(): boolean {
    return this.#alarms.some((a) => a.kind === "corrupt");
  }

  /**
   * Applies one entry.
   *
   * @param now milliseconds, only to date the leases
   * @throws Refused, on every member alike, and then nothing but `index` changed
   */
  apply<C extends Command>(index: number, term: number, command: C, now: number): AnswerOf<C> {
    this.index = index;
    this.term = term;
    return this.#run(command, now) as AnswerOf<C>;
  }

  /** Takes an entry that changes nothing here. */
  pass(index: number, term: number): void {
    this.index = index;
    this.term = term;
  }

  /** Answers a transaction that only reads. Throws Refused. */
  read(txn: TxnRequest): TxnAnswer {
    return applyTxn({ mvcc: this.mvcc, hasLease: () => false }, txn);
  }

  #run(command: Command, now: number): Answers[Command["type"]] {
    const { mvcc, auth } = this;
    if (auth.enabled && command.by) permitCommand(auth, this.lessor, command.by, command);
    switch (command.type) {
      case "txn": {
        if (this.corrupt) throw new Refused("corrupt");
        // Compacting and deleting is the way out of a full store, putting is not, in either branch.
        if (this.full && hasPut(command)) throw new Refused("no-space");
        return applyTxn({ mvcc, hasLease: (id) => this.lessor.has(id) }, command);
      }
      case "compact":
        mvcc.compact(command.revision);
        return { revision: mvcc.revision };
      case "leaseGrant": {
        if (this.full) throw new Refused("no-space");
        const { id, ttl } = this.lessor.grant(command.id, command.ttl, now);
        return { revision: mvcc.revision, id, ttl };
      }
      case "leaseRevoke":
        this.#revoke(command.id);
        return { revision: mvcc.revision };
      case "alarm":
        return { revision: mvcc.revision, changed: this.#setAlarm(command.raise, command.alarm) };
      case "auth":
        return { revision: mvcc.revision, ...auth.apply(command.change, this.index, now) };
      case "memberPublish":
        this.membership.publish(command.id, command.name, command.clientUrls);
        return { revision: mvcc.revision };
      case "memberUpdate":
        if (!this.membership.setPeerUrls(command.id, command.peerUrls)) throw new Refused("member-not-found");
        return { revision: mvcc.revision };
      case "clusterVersion":
        this.membership.setVersion(command.version);
        return { revision: mvcc.revision };
      case "downgrade":
        this.downgradeTarget = command.target;
        return { revision: mvcc.revision };
    }
  }

  /** Takes what another has, which is not to be used any more, in place of all it has. */
  adopt(other: StateMachine): void {
    this.mvcc.adopt(other.mvcc);
    this.lessor.adopt(other.lessor);
    this.auth.restore(other.auth.dump());
    this.membership.restore(other.membership.state());
    this.#alarms = [...other.alarms];
    this.downgradeTarget = other.downgradeTarget;
    this.index = other.index;
    this.term = other.term;
  }

  /** Brings alarms back from a snapshot. */
  restoreAlarms(alarms: readonly Alarm[]): void {
    this.#alarms = [...alarms];
  }

  #revoke(id: bigint): void {
    const lease = this.lessor.get(id);
    if (!lease) throw new Refused("lease-not-found");
    const keys = [...lease.keys].sort();
    this.mvcc.write(() => {
      for (const key of keys) this.mvcc.delete(Buffer.from(key, "latin1"));
    });
    this.lessor.remove(id);
  }

  #setAlarm(raise: boolean, alarm: Alarm): boolean {
    const others = this.#alarms.filter((a) => a.memberId !== alarm.memberId || a.kind !== alarm.kind);
    const was = others.length !== this.#alarms.length;
    if (raise === was) return false;
    this.#alarms = raise ? [...others, alarm] : others;
    return true;
  }
}
