// How long a member waits for the others, and what it says when that was too
// long (etcd's server/etcdserver/v3_server.go and server/config).
import { Refused } from "../mvcc/errors.ts";
import type { Entry, Position, Status } from "../raft/types.ts";

interface Waiting {
  readonly since: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Milliseconds for a request besides two elections: a slow disk, a large entry. */
const REQUEST = 5000;

export class Deadlines {
  readonly #election: number;
  readonly #network: { connectedSince(id: bigint): number | undefined };
  #leader = 0n;
  #leads = false;
  /** When the leader of now was heard of, and its predecessor's last sign of life could have been. */
  #electedAt = Number.NEGATIVE_INFINITY;
  #positions: (Waiting & { at: Position })[] = [];
  #progress: Waiting[] = [];
  #transfers: (Waiting & { target: bigint })[] = [];
  #past: (Waiting & { index: number })[] = [];
  #leaderless: Waiting[] = [];

  /** @param election milliseconds */
  constructor(election: number, network: { connectedSince(id: bigint): number | undefined }) {
    this.#election = election;
    this.#network = network;
  }

  /** Milliseconds that a request may take. */
  get oldest(): number {
    return REQUEST + 2 * this.#election;
  }

  /** Why a request since then had no answer in time. */
  why(since: number): Refused {
    if (since > this.#electedAt - 2 * this.#election && since < this.#electedAt) return new Refused("timeout-leader-failure");
    const connected = this.#leads || this.#leader === 0n ? undefined : this.#network.connectedSince(this.#leader);
    const lost = !this.#leads && this.#leader !== 0n && (connected === undefined || connected > since);
    return new Refused(lost ? "timeout-connection-lost" : "timeout");
  }

  /** Resolves once the entry at this position is applied; rejects when another took its place. */
  reached(at: Position, since: number): Promise<void> {
    return new Promise((resolve, reject) => this.#positions.push({ at, since, resolve, reject }));
  }

  /** Resolves with the next entry that is applied. */
  progress(since: number): Promise<void> {
    return new Promise((resolve, reject) => this.#progress.push({ since, resolve, reject }));
  }

  /** Resolves when this member is the leader. */
  led(target: bigint): Promise<void> {
    return new Promise((resolve, reject) => this.#transfers.push({ target, since: performance.now(), resolve, reject }));
  }

  /** The member that was to lead can't. */
  gone(id: bigint): void {
    this.#transfers = this.#transfers.filter((w) => {
      if (w.target === id) w.reject(new Refused("bad-transferee"));
      return w.target !== id;
    });
  }

  /** Resolves once an entry of this index is applied. */
  past(index: number): Promise<void> {
    return new Promise((resolve, reject) => this.#past.push({ index, since: performance.now(), resolve, reject }));
  }

  /** Resolves when a leader is known. */
  known(): Promise<void> {
    return new Promise((resolve, reject) => this.#leaderless.push({ since: performance.now(), resolve, reject }));
  }

  applied(entry: Entry): void {
    if (this.#progress.length > 0) for (const w of this.#progress.splice(0)) w.resolve();
    if (this.#past.length > 0) this.#pass(entry.index);
    if (this.#positions.length === 0) return;
    this.#positions = this.#positions.filter((w) => {
      if (w.at.index !== entry.index) return true;
      if (w.at.term === entry.term) w.resolve();
      else w.reject(new Refused("leader-changed"));
      return false;
    });
  }

  /** A snapshot took the place of the entries up to here: nobody knows what they were. */
  skipped(index: number): void {
    this.#pass(index);
    this.#positions = this.#positions.filter((w) => {
      if (w.at.index > index) return true;
      w.reject(new Refused("timeout-leader-failure"));
      return false;
    });
  }

  /** The entries from here on are not in the log, and none is on its way there. */
  retracted(from: number, error: Refused): void {
    this.#positions = this.#positions.filter((w) => {
      if (w.at.index < from) return true;
      w.reject(error);
      return false;
    });
    for (const w of this.#progress.splice(0)) w.reject(error);
  }

  status({ leader, role }: Status): void {
    this.#leads = role === "leader";
    if (leader === this.#leader) return;
    this.#leader = leader;
    if (leader === 0n) return;
    this.#electedAt = performance.now();
    for (const w of this.#leaderless.splice(0)) w.resolve();
    this.#transfers = this.#transfers.filter((w) => {
      if (w.target === leader) w.resolve();
      else w.reject(new Refused("transfer-timeout"));
      return false;
    });
  }

  expire(now: number): void {
    const live = <W extends Waiting>(waiting: W[], most: number, why: (w: W) => Refused): W[] =>
      waiting.filter((w) => {
        if (w.since > now - most) return true;
        w.reject(why(w));
        return false;
      });
    this.#positions = live(this.#positions, this.oldest, (w) => this.why(w.since));
    this.#progress = live(this.#progress, this.oldest, (w) => this.why(w.since));
    this.#past = live(this.#past, this.oldest, (w) => this.why(w.since));
    this.#leaderless = live(this.#leaderless, this.oldest, () => new Refused("no-leader"));
    this.#transfers = live(this.#transfers, 2 * this.#election, () => new Refused("transfer-timeout"));
  }

  rejectAll(error: Refused): void {
    const lists: Waiting[][] = [this.#positions, this.#progress, this.#transfers, this.#past, this.#leaderless];
    for (const list of lists) for (const w of list.splice(0)) w.reject(error);
  }

  #pass(index: number): void {
    this.#past = this.#past.filter((w) => {
      if (w.index > index) return true;
      w.resolve();
      return false;
    });
  }
}
