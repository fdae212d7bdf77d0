// Clients that write and read at any member, and write down what they saw.
import type { Command } from "../../command.ts";
import type { Op, TxnAnswer } from "../../mvcc/types.ts";
import { assertLinearizable, type Operation, type Value } from "../../testing/linearizability.ts";
import { assertNone, type Change, checkRevisions, type Read, type Write } from "../../testing/revisions.ts";
import type { ReadMode } from "../types.ts";
import type { Machine } from "./machine.ts";
import type { Random } from "./random.ts";
import type { Answer } from "./requests.ts";
import type { Schedule } from "./schedule.ts";

const KEYS = ["a", "b", "c"];
const bytes = (s: string) => Buffer.from(s, "latin1");
const text = (b: Uint8Array) => Buffer.from(b).toString("latin1");

const WORK = { put: 8, quorumRead: 4, leaseRead: 4, cas: 3, delete: 2, lease: 1, compact: 1 };

interface Call {
  client: number;
  call: number;
  return: number;
}

export class Clients {
  readonly #random: Random;
  readonly #schedule: Schedule;
  readonly #machines: () => readonly Machine[];
  readonly #timeout: number;
  readonly #operations: Operation[] = [];
  readonly #writes: Write[] = [];
  readonly #reads: Read[] = [];
  #values = 0;
  #leases = 0n;
  #names = 0;
  #stopped = false;
  /** Operations that were answered. */
  answered = 0;

  constructor(random: Random, schedule: Schedule, machines: () => readonly Machine[], timeout: number) {
    this.#random = random;
    this.#schedule = schedule;
    this.#machines = machines;
    this.#timeout = timeout;
  }

  /** @param pause longest time in milliseconds between two operations of one client */
  start(count: number, pause: number): void {
    for (let i = 0; i < count; i++) this.#loop(this.#names++, pause);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Throws if what the clients saw can't be the one story that the store's history tells. */
  check(history: readonly Change[]): void {
    assertNone("revisions", checkRevisions(history, this.#writes, this.#reads));
    assertLinearizable(this.#operations);
  }

  /** Puts a value through one machine, for nobody to wait for. */
  poke(machine: Machine): void {
    this.#put(this.#names++, machine, this.#random.pick(KEYS), () => {});
  }

  /** Puts a value through one machine, whatever it takes, and reads it there. */
  probe(machine: Machine, done: () => void): void {
    const again = () => {
      if (!answered) this.probe(machine, done);
    };
    let answered = false;
    this.#put(this.#names++, machine, this.#random.pick(KEYS), () => {
      answered = true;
      done();
    });
    this.#schedule.after(this.#timeout, again);
  }

  #loop(client: number, pause: number): void {
    this.#schedule.after(this.#random.between(0, pause), () => {
      if (this.#stopped) return;
      let over = false;
      const next = (name: number) => {
        if (over) return;
        over = true;
        this.#loop(name, pause);
      };
      // Who gives up waiting goes on under another name: a client does one thing at a time.
      this.#schedule.after(this.#timeout, () => next(this.#names++));
      this.#operate(client, () => next(client));
    });
  }

  #operate(client: number, done: () => void): void {
    const machine = this.#choose();
    const key = this.#random.pick(KEYS);
    switch (this.#random.weighted(WORK)) {
      case "put":
        return this.#put(client, machine, key, done);
      case "quorumRead":
        return this.#get(client, machine, key, "quorum", done);
      case "leaseRead":
        return this.#get(client, machine, key, "lease", done);
      case "cas":
        return this.#cas(client, machine, key, done);
      case "delete":
        return this.#delete(client, machine, key, done);
      case "lease":
        return this.#lease(client, machine, done);
      case "compact":
        return this.#compact(machine, done);
    }
  }

  /** Any, but often one that thinks it leads, and may be wrong. */
  #choose(): Machine {
    const machines = this.#machines();
    const leaders = machines.filter((m) => m.raft?.status.role === "leader");
    return this.#random.pick(leaders.length > 0 && this.#random.chance(0.5) ? leaders : machines);
  }

  #begin(client: number): Call {
    return { client, call: this.#schedule.now, return: Infinity };
  }

  #end(call: Call): void {
    call.return = this.#schedule.now;
    this.answered++;
  }

  #write(client: number, machine: Machine, command: Command, changes: Write["changes"], done: (a: { revision: number }) => void): Call {
    const write: Write = { ...this.#begin(client), changes };
    this.#writes.push(write);
    machine.propose(command, (answer) => {
      if ("refused" in answer) {
        this.#forget(write);
        return;
      }
      const { revision } = answer.ok as { revision: number };
      write.revision = revision;
      this.#end(write);
      done(answer.ok as { revision: number });
    });
    return write;
  }

  /** A refused write never was. */
  #forget(write: Write): void {
    write.changes = [];
  }

  #put(client: number, machine: Machine, key: string, done: () => void): void {
    const value = `v${this.#values++}`;
    const op: Operation = { ...this.#begin(client), type: "put", key, value };
    this.#operations.push(op);
    this.#write(client, machine, txn([put(key, value)]), [{ key, value }], () => {
      op.return = this.#schedule.now;
      done();
    });
  }

  #delete(client: number, machine: Machine, key: string, done: () => void): void {
    const op: Operation & { type: "delete" } = { ...this.#begin(client), type: "delete", key };
    this.#operations.push(op);
    const changes = [{ key, value: null }];
    const write = this.#write(client, machine, txn([{ type: "delete", key: bytes(key) }]), changes, (answer) => {
      const result = (answer as TxnAnswer).results[0]!;
      op.deleted = result.type === "delete" && result.deleted > 0;
      op.return = this.#schedule.now;
      if (!op.deleted) (write as Write).changes = [];
      done();
    });
  }

  /** Puts a value if the key still has the one that it read before. */
  #cas(client: number, machine: Machine, key: string, done: () => void): void {
    this.#get(client, machine, key, "quorum", (expect) => {
      const value = `v${this.#values++}`;
      const op: Operation & { type: "cas" } = { ...this.#begin(client), type: "cas", key, expect, value };
      this.#operations.push(op);
      const compare =
        expect === null
          ? ({ key: bytes(key), op: "=", target: "version", value: 0 } as const)
          : ({ key: bytes(key), op: "=", target: "value", value: bytes(expect) } as const);
      const command: Command = { type: "txn", compare: [compare], success: [put(key, value)], failure: [] };
      const write = this.#write(client, machine, command, [{ key, value }], (answer) => {
        op.succeeded = (answer as TxnAnswer).succeeded;
        op.return = this.#schedule.now;
        if (!op.succeeded) (write as Write).changes = [];
        done();
      });
    });
  }

  #get(client: number, machine: Machine, key: string, mode: ReadMode, done: (value: Value) => void): void {
    const call = this.#begin(client);
    const request = { compare: [], success: [{ type: "range" as const, key: bytes(key) }], failure: [] };
    machine.read(request, mode, (answer: Answer) => {
      if ("refused" in answer) return;
      const range = (answer.ok as TxnAnswer).results[0]!;
      if (range.type !== "range") throw new Error(`a range was answered with ${range.type}`);
      this.#end(call);
      const [kv] = range.kvs;
      const value = kv ? text(kv.value) : null;
      this.#operations.push({ ...call, type: "get", key, value });
      const found = kv ? [{ key, value: text(kv.value), modRevision: kv.modRevision }] : [];
      this.#reads.push({ ...call, includes: (k) => k === key, found, revision: range.revision });
      done(value);
    });
  }

  /** Lets go of what was before a revision that the machine has, or will have. */
  #compact(machine: Machine, done: () => void): void {
    const revision = Math.max(1, machine.state.mvcc.revision - this.#random.below(20) + 2);
    machine.propose({ type: "compact", revision }, () => {
      this.answered++;
      done();
    });
  }

  /** Grants a lease, puts a key under it and revokes it. */
  #lease(client: number, machine: Machine, done: () => void): void {
    const id = ++this.#leases;
    const key = `lease/${id}`;
    const value = `v${this.#values++}`;
    this.#write(client, machine, { type: "leaseGrant", id, ttl: 60 }, [], () => {
      this.#write(client, machine, txn([put(key, value, id)]), [{ key, value }], () => {
        this.#write(client, machine, { type: "leaseRevoke", id }, [{ key, value: null }], done);
      });
    });
  }
}

const put = (key: string, value: string, lease?: bigint): Op => ({ type: "put", key: bytes(key), value: bytes(value), lease });
const txn = (success: Op[]): Command => ({ type: "txn", compare: [], success, failure: [] });
