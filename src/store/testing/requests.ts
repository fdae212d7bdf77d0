// Random requests of etcd's API, with right and wrong values in every field,
// for two stores to be asked the same.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  CompactionRequestSchema,
  CompareSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  RequestOpSchema,
  TxnRequestSchema,
  WatchCreateRequestSchema,
} from "../../rpc/gen/etcd/rpc_pb.ts";
import type { Random } from "../raft/sim/random.ts";

export type StoreRequest =
  | { kind: "range"; value: MessageInitShape<typeof RangeRequestSchema> }
  | { kind: "put"; value: MessageInitShape<typeof PutRequestSchema> }
  | { kind: "deleteRange"; value: MessageInitShape<typeof DeleteRangeRequestSchema> }
  | { kind: "txn"; value: MessageInitShape<typeof TxnRequestSchema> }
  | { kind: "compact"; value: MessageInitShape<typeof CompactionRequestSchema> }
  | { kind: "leaseGrant"; value: MessageInitShape<typeof LeaseGrantRequestSchema> }
  | { kind: "leaseRevoke"; value: MessageInitShape<typeof LeaseRevokeRequestSchema> }
  | { kind: "leaseTimeToLive"; value: MessageInitShape<typeof LeaseTimeToLiveRequestSchema> }
  | { kind: "leaseKeepAlive"; id: bigint }
  | { kind: "leaseLeases" };

/** What the requests are about: the revisions that there are. */
export interface Known {
  revision: number;
  compacted: number;
}

const encoder = new TextEncoder();
const bytes = (s: string) => encoder.encode(s);
/** All keys; some are the beginning of others. */
export const KEYS = ["a", "aa", "ab", "b", "b\0", "ba", "c", "c\xff", "d"].map((k) => Uint8Array.from(k, (c) => c.charCodeAt(0)));
const VALUES = ["", "0", "1", "10", "2", "long ".repeat(20)].map(bytes);
const EMPTY = new Uint8Array(0);
/** From the key on. */
const FROM_KEY = Uint8Array.of(0);
const ENDS = [FROM_KEY, ...["a", "b", "c", "cc", "e"].map(bytes)];
const LEASES = [1n, 2n, 3n, 0x7fff_ffff_ffff_ffffn];
const NO_LEASE = 99n;

const WEIGHTS = {
  range: 24,
  put: 30,
  deleteRange: 8,
  txn: 24,
  compact: 3,
  leaseGrant: 4,
  leaseRevoke: 2,
  leaseTimeToLive: 3,
  leaseKeepAlive: 2,
  leaseLeases: 1,
};

export class Requests {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  next(known: Known): StoreRequest {
    const kind = this.#random.weighted(WEIGHTS);
    switch (kind) {
      case "range":
        return { kind, value: this.#range(known) };
      case "put":
        return { kind, value: this.#put() };
      case "deleteRange":
        return { kind, value: this.#delete() };
      case "txn":
        return { kind, value: this.#txn(known, 0) };
      case "compact":
        return { kind, value: { revision: this.#revision(known), physical: true } };
      case "leaseGrant":
        return { kind, value: { ID: this.#random.pick(LEASES), TTL: this.#random.pick([600n, 601n, 9_000_000_000n, 9_000_000_001n]) } };
      case "leaseRevoke":
        return { kind, value: { ID: this.#lease() } };
      case "leaseTimeToLive":
        return { kind, value: { ID: this.#lease(), keys: this.#random.chance(0.7) } };
      case "leaseKeepAlive":
        return { kind, id: this.#lease() };
      case "leaseLeases":
        return { kind };
    }
  }

  /** A watch that sees events of one kind at least. */
  watch({ revision }: Known): MessageInitShape<typeof WatchCreateRequestSchema> {
    const random = this.#random;
    const startRevision = random.pick([0, 0, 1, 2, ...Array.from({ length: 8 }, () => random.below(revision + 3))]);
    return {
      key: this.#key(),
      rangeEnd: this.#end(),
      startRevision: BigInt(startRevision),
      filters: random.pick([[], [], [0], [1]]),
      prevKv: random.chance(0.5),
      fragment: random.chance(0.3),
      // When the id of one that is canceled, as from a compacted revision, is free again is a matter of time.
      watchId: startRevision === 0 ? random.pick([0n, 0n, 1000n, 1001n]) : 0n,
    };
  }

  #key(): Uint8Array {
    return this.#random.chance(0.02) ? EMPTY : this.#random.pick(KEYS);
  }

  #end(): Uint8Array {
    return this.#random.chance(0.4) ? this.#random.pick(ENDS) : EMPTY;
  }

  #lease(): bigint {
    return this.#random.chance(0.1) ? this.#random.pick([NO_LEASE, 0n, -1n]) : this.#random.pick(LEASES);
  }

  /** One that is there, more likely than not. */
  #revision({ revision, compacted }: Known): bigint {
    const random = this.#random;
    if (random.chance(0.15)) return BigInt(random.pick([-1, 0, 1, compacted - 1, revision + 1, revision + 1000]));
    return BigInt(random.pick([compacted, compacted + 1, revision, revision - random.below(Math.max(1, revision - compacted))]));
  }

  #bound({ revision }: Known): bigint {
    return this.#random.chance(0.9) ? 0n : BigInt(this.#random.below(revision + 2) - 1);
  }

  #range(known: Known): MessageInitShape<typeof RangeRequestSchema> {
    const random = this.#random;
    return {
      key: this.#key(),
      rangeEnd: this.#end(),
      limit: BigInt(random.pick([0, 0, 0, 1, 2, 3, 100, -1])),
      revision: random.chance(0.6) ? 0n : this.#revision(known),
      sortOrder: random.pick([0, 0, 1, 2]),
      sortTarget: random.below(5),
      serializable: random.chance(0.3),
      keysOnly: random.chance(0.2),
      countOnly: random.chance(0.15),
      minModRevision: this.#bound(known),
      maxModRevision: this.#bound(known),
      minCreateRevision: this.#bound(known),
      maxCreateRevision: this.#bound(known),
    };
  }

  #put(): MessageInitShape<typeof PutRequestSchema> {
    const random = this.#random;
    const ignoreValue = random.chance(0.05);
    return {
      key: this.#key(),
      value: random.pick(VALUES),
      // Which of a missing key and a missing lease an etcd names first depends on whether the put is in a transaction.
      lease: ignoreValue || random.chance(0.7) ? 0n : this.#lease(),
      prevKv: random.chance(0.4),
      ignoreValue,
      ignoreLease: random.chance(0.05),
    };
  }

  #delete(): MessageInitShape<typeof DeleteRangeRequestSchema> {
    return { key: this.#key(), rangeEnd: this.#end(), prevKv: this.#random.chance(0.5) };
  }

  /** Never from a key on: Debian's etcd ends with a panic when a put that keeps the value comes behind it. */
  #deleteInTxn(): MessageInitShape<typeof DeleteRangeRequestSchema> {
    const value = this.#delete();
    return value.rangeEnd === FROM_KEY ? { ...value, rangeEnd: ENDS.at(-1) } : value;
  }

  #txn(known: Known, depth: number): MessageInitShape<typeof TxnRequestSchema> {
    const random = this.#random;
    const ops = (most: number) => Array.from({ length: random.below(most + 1) }, () => this.#op(known, depth));
    return { compare: Array.from({ length: random.below(3) }, () => this.#compare(known)), success: ops(3), failure: ops(2) };
  }

  #op(known: Known, depth: number): MessageInitShape<typeof RequestOpSchema> {
    const kind = this.#random.weighted({ put: 5, range: 4, delete: 2, txn: depth < 2 ? 2 : 0, nothing: 0.05 });
    switch (kind) {
      case "put":
        return { request: { case: "requestPut", value: this.#put() } };
      case "range":
        return { request: { case: "requestRange", value: this.#range(known) } };
      case "delete":
        return { request: { case: "requestDeleteRange", value: this.#deleteInTxn() } };
      case "txn":
        return { request: { case: "requestTxn", value: this.#txn(known, depth + 1) } };
      case "nothing":
        return { request: { case: undefined } };
    }
  }

  #compare(known: Known): MessageInitShape<typeof CompareSchema> {
    const random = this.#random;
    const number = () => BigInt(random.pick([0, 1, 2, known.revision, random.below(known.revision + 1)]));
    const [target, name] = random.pick([
      [0, "version"],
      [1, "createRevision"],
      [2, "modRevision"],
      [4, "lease"],
      [3, "value"],
    ] as const);
    const targetUnion =
      name === "value" ? { case: name, value: random.pick(VALUES) } : { case: name, value: name === "lease" ? this.#lease() : number() };
    return { result: random.below(4), target, key: this.#key(), rangeEnd: random.chance(0.2) ? this.#end() : EMPTY, targetUnion };
  }
}
