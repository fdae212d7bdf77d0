// One member of a store: the state machine, the log that drives it, the others
// that it agrees with, and the work that goes on beside (expiring leases,
// freeing what was compacted, snapshots).
import { type Logger, logger } from "../platform/log.ts";
import type { Author } from "./auth/types.ts";
import { encodeCommand } from "./codec.ts";
import type { Alarm, AnswerOf, Command } from "./command.ts";
import type { RaftConsensus } from "./consensus/driver.ts";
import { ENVELOPE } from "./consensus/envelope.ts";
import type { Host, Settle } from "./consensus.ts";
import { DiskFault } from "./disk-fault.ts";
import { LeaseClock } from "./lease/clock.ts";
import { freeLeaseId } from "./lease/id.ts";
import { LeaseKeeper } from "./lease/keeper.ts";
import { MembershipChanger } from "./membership/changer.ts";
import { Departure } from "./membership/departure.ts";
import type { MemberChange } from "./membership/operations.ts";
import { DEFAULT_ELECTION, DEFAULT_HEARTBEAT } from "./membership/options.ts";
import { VersionMonitor } from "./membership/version.ts";
import { MemberMetrics } from "./metrics.ts";
import { Refused } from "./mvcc/errors.ts";
import { type Opened, openMember } from "./open.ts";
import type { MemberOptions } from "./options.ts";
import { REMOVED } from "./peer/identity.ts";
import type { Transport } from "./peer/transport.ts";
import { Quota } from "./quota.ts";
import type { ConfChange, Entry, SnapshotMeta, Status } from "./raft/types.ts";
import { SnapshotPace } from "./snapshot/pace.ts";
import { Snapshots } from "./snapshots.ts";
import { StateMachine } from "./state.ts";
import { Tidy } from "./tidy.ts";
import type { Identity } from "./wal/format.ts";
import type { Wal, WalError } from "./wal/wal.ts";
import { Watches } from "./watches.ts";

/** Revisions that are freed, or read for a watcher that is behind, before other work has its turn. */
const SLICE = 512;
const VERSION_TIMEOUT = 2000;

export class Member implements Host {
  readonly state = new StateMachine();
  readonly watches: Watches;
  readonly leases: LeaseClock;
  readonly keeper: LeaseKeeper;
  readonly snapshots: Snapshots;
  readonly metrics: MemberMetrics;
  readonly #options: MemberOptions;
  readonly #version: VersionMonitor;
  readonly #changer: MembershipChanger;
  readonly #quota: Quota;
  readonly #log: Logger = logger("etcd");
  #wal!: Wal;
  #consensus!: RaftConsensus;
  #transport!: Transport;
  readonly #tidy = new Tidy({ written: () => this.#wal.written });
  #lock: { release(): void } | undefined;
  readonly pace: SnapshotPace;
  readonly #fault = new DiskFault(this);
  /** Seconds. */
  readonly #shortestLease: number;
  #leading = false;
  /** The last that was known. */
  #leader = 0n;
  readonly #departure: Departure;
  #stopping: Promise<void> | undefined;
  /** Told when this member was removed from its cluster, and has to stop. */
  onRemoved: () => void = () => {};
  #onBroken: (error: Error) => void = () => {};
  /** Why it takes part no more, if it has lost what it had acknowledged. */
  #lost: Error | undefined;
  /** Told of another leader, or that there is none. */
  readonly leaderChanged = new Set<() => void>();

  constructor(options: MemberOptions) {
    this.#options = options;
    this.metrics = new MemberMetrics(options.slowApply);
    const { heartbeatInterval = DEFAULT_HEARTBEAT, electionTimeout = DEFAULT_ELECTION } = options;
    // As etcd counts: one and a half election timeouts, in ticks.
    this.#shortestLease = Math.ceil((Math.floor((3 * Math.floor(electionTimeout / heartbeatInterval)) / 2) * heartbeatInterval) / 1000);
    this.pace = new SnapshotPace(options.snapshotCount ?? 10_000);
    this.#quota = new Quota(this, options);
    this.watches = new Watches(this.state.mvcc, SLICE);
    this.leases = new LeaseClock(this.state.lessor, (id) => this.propose({ type: "leaseRevoke", id }));
    this.keeper = new LeaseKeeper(this, this.leases);
    this.#departure = new Departure(this, options.electionTimeout ?? DEFAULT_ELECTION);
    this.#changer = new MembershipChanger(this, options);
    this.#version = new VersionMonitor({
      state: this.state,
      own: () => this.identity.memberId,
      versionOf: async (id) => {
        const peer = this.#transport.peer(id);
        if (!peer) throw new Refused("member-not-found");
        return (await peer.describe({}, { timeout: VERSION_TIMEOUT })).serverVersion;
      },
      agree: (version) => this.propose({ type: "clusterVersion", version }),
    });
    this.snapshots = new Snapshots(`${options.dataDir}/snap`, this.state, SLICE, this.metrics);
  }

  /** Told when the disk of one of several is broken: another start may find it well, and the others serve meanwhile. Or that it has lost what it had. */
  set onBroken(told: (error: Error) => void) {
    this.#onBroken = told;
    const known = this.#lost ?? this.#fault.broken;
    if (known) told(known);
  }

  get onBroken(): (error: Error) => void {
    return this.#onBroken;
  }

  /** Bytes that the store may have. */
  get quota(): number {
    return this.#quota.bytes;
  }

  get identity(): Identity {
    return this.#wal.identity;
  }

  get consensus(): RaftConsensus {
    return this.#consensus;
  }

  /** Bytes written to the log. */
  get walBytes(): number {
    return this.#wal.written;
  }

  get transport(): Transport {
    return this.#transport;
  }

  get running(): boolean {
    return this.#lock !== undefined && this.#stopping === undefined;
  }

  /** Whether it was removed from its cluster. */
  get removed(): boolean {
    return this.#departure.begun;
  }

  get isLearner(): boolean {
    return this.state.membership.isLearner(this.identity.memberId);
  }

  /** Where received snapshots are written. */
  get snapshotDir(): string {
    return this.snapshots.dir;
  }

  /** The alarms of the state, and this member's own while its disk is full. */
  get alarms(): readonly Alarm[] {
    const { alarms } = this.state;
    const { memberId } = this.identity;
    if (!this.#fault.noSpace || alarms.some((a) => a.kind === "nospace" && a.memberId === memberId)) return alarms;
    return [...alarms, { memberId, kind: "nospace" }];
  }

  /** Why the log can't be written to any more, in words. */
  get failure(): string | undefined {
    return this.#fault.message ?? this.#lost?.message;
  }

  /**
   * Reads the data directory back, or makes it, and takes part in the cluster.
   *
   * @throws DirectoryLocked, CorruptFile, BootstrapError, that it was removed (as soon as the others know so, too), or what the system says of the directory or the peer address
   */
  async open(): Promise<void> {
    const opened: Opened = await openMember(this, this.#options);
    this.#lock = opened.lock;
    this.#wal = opened.wal;
    this.#transport = opened.transport;
    if (opened.wal.cut) this.#log.warn("Cut off a write that a crash had left unfinished", { ...opened.wal.cut });
    this.state.mvcc.prune();
    this.watches.open();
    try {
      this.#consensus = opened.start(this);
      await opened.serve(this);
      if (this.#departure.isDue) {
        await this.#departure.begin();
        throw new Error(REMOVED);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Proposes a command; answers once it is durable on a majority and applied here. Rejects with Refused. */
  propose<C extends Command>(command: C): Promise<AnswerOf<C>> {
    return new Promise((resolve, reject) => this.submit(command, { resolve, reject }));
  }

  /** The same without a promise. */
  submit<C extends Command>(command: C, settle: Settle<AnswerOf<C>>): void {
    const refused = this.#admit();
    if (refused) return settle.reject(refused);
    const data = encodeCommand(command, ENVELOPE);
    if (this.#quota.exceeds(command, data.length - ENVELOPE)) {
      const reject = (full: Refused) => settle.reject(full);
      return void this.#quota.refuse().then(reject, reject);
    }
    if (this.#quota.tooLarge(data.length - ENVELOPE)) return settle.reject(new Refused("request-too-large"));
    this.#consensus.submit(command, data, settle);
  }

  /** Sets or clears an alarm; clearing also tries a full disk again. */
  async alarm(raise: boolean, alarm: Alarm, by?: Author): Promise<boolean> {
    const own = !raise && alarm.kind === "nospace" && this.#fault.forgive();
    return (await this.propose({ type: "alarm", by, raise, alarm })).changed || own;
  }

  /** Grants a lease of whole seconds, and of no fewer than a new leader may take to be elected; an id of 0n lets the store choose. */
  grantLease(ttl: number, id: bigint, by?: Author): Promise<AnswerOf<Command & { type: "leaseGrant" }>> {
    return this.propose({
      type: "leaseGrant",
      by,
      id: id || freeLeaseId(this.state.lessor),
      ttl: Math.max(this.#shortestLease, Math.ceil(ttl)),
    });
  }

  async compact(revision: number, physical = false, by?: Author): Promise<{ revision: number }> {
    // Below the first revision, all is compacted already.
    if (revision <= 0) throw new Refused("compacted");
    const answer = await this.propose({ type: "compact", by, revision });
    if (physical) await this.snapshots.pruned();
    return answer;
  }

  /** Changes who the members are, through the leader; resolves once it is applied here. Rejects with Refused. */
  changeMembership(change: MemberChange): Promise<{ id: bigint }> {
    return this.#changer.change(change);
  }

  /** The same as the leader. */
  async changeMembers(change: MemberChange): Promise<{ id: bigint; index: number }> {
    const refused = this.#admit();
    if (refused) throw refused;
    return this.#changer.changeAsLeader(change);
  }

  renewAsLeader(id: bigint): Promise<number> {
    return this.keeper.renewAsLeader(id);
  }

  remainingAsLeader(id: bigint): number {
    return this.keeper.remainingAsLeader(id);
  }

  async noSpaceAt(memberId: bigint): Promise<void> {
    if (!this.#consensus.isLeader) throw new Refused("not-leader");
    if (!this.state.alarms.some((a) => a.kind === "nospace" && a.memberId === memberId))
      await this.propose({ type: "alarm", raise: true, alarm: { memberId, kind: "nospace" } });
  }

  stoppingAt(id: bigint): void {
    this.#transport.stoppingAt(id);
    this.#consensus.goneAt(id);
  }

  /** Writes a snapshot now, and releases the log before it. */
  async snapshot(): Promise<void> {
    this.pace.from(this.state.index);
    const { meta } = await this.snapshots.take();
    this.#wal.release(meta.index);
  }

  /** Gives back what compactions have freed: memory to the system, and the log before a new snapshot to the disk. */
  async defragment(): Promise<void> {
    await this.snapshot();
    this.state.mvcc.defragment();
    Bun.gc(true);
  }

  /** Keeps what a compaction leaves behind from being freed, until it is disposed of. */
  holdHistory(): Promise<Disposable> {
    return this.snapshots.hold();
  }

  // Host

  apply(entry: Entry, command: Command): unknown {
    this.pace.applied(entry.data.length);
    const now = performance.now();
    this.metrics.applying(now);
    const answer = this.state.apply(entry.index, entry.term, command, now);
    if (command.type === "compact") this.snapshots.prune();
    else if (command.type === "leaseGrant") this.metrics.leaseTtl.observe((answer as AnswerOf<typeof command>).ttl);
    else if (command.type === "memberUpdate") this.#transport.configure(this.state.membership.members);
    return answer;
  }

  changed(entry: Entry, change: ConfChange): void {
    this.state.membership.apply(change);
    this.state.pass(entry.index, entry.term);
    this.#transport.configure(this.state.membership.members);
    if (this.#departure.isDue) this.#departure.leave();
  }

  passed(entry: Entry): void {
    this.state.pass(entry.index, entry.term);
  }

  applied(): void {
    this.metrics.applied(performance.now());
    this.watches.publish();
    this.leases.wake();
    this.#tidy.wake();
    if (this.snapshots.taking || !this.pace.due(this.state.index, this.state.mvcc.size)) return;
    // If it fails, nothing is lost: the log still has it all. The next try comes after as many entries again.
    this.snapshot().catch((error) => {
      this.#log.error("Could not write a snapshot", error);
    });
  }

  async install(meta: SnapshotMeta): Promise<void> {
    this.metrics.installing = 1;
    await this.snapshots.install(meta).finally(() => {
      this.metrics.installing = 0;
    });
    this.pace.from(meta.index);
    this.#transport.configure(this.state.membership.members);
    this.watches.reload();
    this.#log.info("Took a snapshot of the leader's", { index: meta.index, revision: this.state.mvcc.revision });
    if (this.#departure.isDue) this.#departure.leave();
  }

  status({ role, term, leader }: Status): void {
    this.#log.info("Raft", { role, term, leader: leader.toString(16) }, 2);
    const leads = role === "leader";
    if (leader !== 0n && leader !== this.#leader) {
      this.#leader = leader;
      this.metrics.leaderChanges++;
    }
    if (leads && !this.#leading) {
      // Nobody knows how much of their time had passed.
      this.state.lessor.renewAll(performance.now());
      this.leases.start();
      this.#version.start();
    } else if (!leads) {
      this.leases.stop();
      this.#version.stop();
    }
    this.#leading = leads;
    this.#fault.report();
    for (const told of this.leaderChanged) told();
  }

  failed(error: WalError): void {
    this.#fault.failed(error);
  }

  lost(acknowledged: number, last: number): void {
    const error = new Error(
      `tocommit(${acknowledged}) is out of range [lastIndex(${last})]: this member has acknowledged what its log no longer has. Was its data directory lost, or an older copy put in its place? Remove the member, and add it anew`,
    );
    this.#log.error("The log of this member was corrupted, truncated, or lost", error);
    this.#lost = error;
    this.onBroken(error);
  }

  recovered(): void {
    this.#fault.recovered();
  }

  dismissed(): void {
    this.#departure.end();
  }

  /** Another member says that this one was removed. */
  refused(by: bigint): void {
    this.#departure.refused(by);
  }

  /** Tells the others that it will stop, so that none hands over to it. */
  announceStop(): void {
    if (this.running) this.#transport.tellStopping();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#tidy.stop();
    this.#departure.end();
    if (!this.#lock) return;
    this.#transport.tellStopping();
    this.leases.stop();
    this.#version.stop();
    await this.#consensus?.handOver();
    await this.#consensus?.stop();
    this.watches.close(new Refused("unavailable"));
    await this.#transport.close();
    await this.snapshots.idle();
    this.#wal.close();
    this.#lock.release();
  }

  /** What is refused before it is proposed, because of the state of this member. */
  #admit(): Refused | undefined {
    return this.running ? this.#fault.refusal : new Refused("unavailable");
  }
}
