// Random requests of etcd's API by all kinds of users, while auth is turned on
// and off and users, roles and permissions come and go. Left out is what 3.4
// lets pass and later releases, as ours, refuse: leases and members for who has
// not said who they are, what is in a transaction within one, compacting by who
// is not root; and what only 3.4 has a view of, such as ranges that end before they begin.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Channel, createClient } from "../../rpc/client.ts";
import { Auth, KV, Lease, type PutRequestSchema, type RequestOpSchema, type TxnRequestSchema } from "../../rpc/gen/etcd/rpc_pb.ts";
import type { CallOptions } from "../../rpc/types.ts";
import type { Random } from "../raft/sim/random.ts";
import { firstAnswer, keepAliveOnce } from "./streams.ts";

export interface AuthStep {
  readonly what: string;
  /** Whose token it is asked with, if that user has one. */
  readonly as: string;
  /** Who gets a token by it. */
  readonly authenticates?: string;
  ask(channel: Channel, options: CallOptions): Promise<unknown>;
}

const bytes = (s: string) => Uint8Array.from(s, (c) => c.charCodeAt(0));
const USERS = ["root", "u1", "u2", "u3", "ü"];
const ROLES = ["root", "r1", "r2", "r3"];
const ODD = ["", "none", "rot", "root\0"];
const KEYS = ["a", "aa", "ab", "b", "c", "d"];
const ENDS = ["", "", "", "b", "c", "aa", "\0", "a\0"];
/** One range a key: where two begin alike, 3.4 can have one of them twice. */
const GRANTED: Record<string, string> = { a: "b", aa: "", ab: "", b: "d", c: "\0", d: "e" };
const LEASES = [5n, 6n, 7n];
const NOTHING = new Uint8Array(0);

const WEIGHTS = {
  ...{ enable: 4, disable: 0.3, authenticate: 12, userAdd: 8, userDelete: 2, userPassword: 3, userGrant: 8, userRevoke: 3 },
  ...{ userGet: 4, userList: 2, roleAdd: 6, roleDelete: 2, roleGrant: 12, roleRevoke: 5, roleGet: 5, roleList: 2 },
  ...{ put: 12, range: 12, deleteRange: 6, txn: 8, leaseGrant: 3, leaseRevoke: 2, leaseTimeToLive: 2, keepAlive: 2, watch: 5 },
};
/** What 3.4 answers to whoever has no token, too. */
const LATER = new Set(["leaseGrant", "leaseRevoke", "leaseTimeToLive", "keepAlive", "txn"]);
/** What 3.4 answers to any user. */
const OF_ROOT = new Set(["leaseTimeToLive", "keepAlive"]);
/** What takes from root what it needs for auth to be enabled, while it is off. */
const UNDOING = new Set(["userDelete", "userRevoke", "roleDelete"]);

export class AuthSteps {
  readonly #random: Random;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * @param on whether auth is enabled
   * @param good whose tokens are good
   */
  next(on: boolean, good: (user: string) => boolean): AuthStep {
    for (;;) {
      const as = this.#random.weighted({ root: 60, u1: 10, u2: 8, u3: 4, nobody: 4, bad: on ? 1 : 0 });
      const kind = this.#random.weighted(WEIGHTS);
      const step = this.#step(kind);
      if (on && LATER.has(kind) && !(good(as) && (as === "root" || !OF_ROOT.has(kind)))) continue;
      if (!on && UNDOING.has(kind) && Object.values(step.request as object).includes("root")) continue;
      const asked = JSON.stringify(step.request, (_, v) =>
        v instanceof Uint8Array ? Buffer.from(v).toString("latin1") : typeof v === "bigint" ? String(v) : v,
      );
      return { ...step, as, what: `step ${++this.#count}: ${kind} ${asked} as ${as}` };
    }
  }

  #step(kind: keyof typeof WEIGHTS): { request: unknown; authenticates?: string } & Pick<AuthStep, "ask"> {
    const random = this.#random;
    const user = this.#odd(USERS);
    const role = this.#odd(ROLES);
    const of = <T>(request: T, ask: (channel: Channel, request: T, options: CallOptions) => Promise<unknown>) => ({
      request,
      ask: (channel: Channel, options: CallOptions) => ask(channel, request, options),
    });
    switch (kind) {
      case "enable":
        return of({}, (c, r, o) => createClient(Auth, c).authEnable(r, o));
      case "disable":
        return of({}, (c, r, o) => createClient(Auth, c).authDisable(r, o));
      case "authenticate":
        return {
          ...of({ name: user, password: this.#password(user) }, (c, r) => createClient(Auth, c).authenticate(r)),
          authenticates: user,
        };
      case "userAdd": {
        const options = random.chance(0.15) ? { noPassword: random.chance(0.7) } : undefined;
        const request = { name: user, password: random.chance(0.9) ? `pw-${user}` : this.#password(user), options };
        return of(request, (c, r, o) => createClient(Auth, c).userAdd(r, o));
      }
      case "userDelete":
        return of({ name: user }, (c, r, o) => createClient(Auth, c).userDelete(r, o));
      case "userPassword":
        return of({ name: user, password: this.#password(user) }, (c, r, o) => createClient(Auth, c).userChangePassword(r, o));
      case "userGrant":
        return of({ user, role }, (c, r, o) => createClient(Auth, c).userGrantRole(r, o));
      case "userRevoke":
        return of({ name: user, role }, (c, r, o) => createClient(Auth, c).userRevokeRole(r, o));
      case "userGet":
        // Whoever has not said who they are is nobody of that name.
        return of({ name: user || "none" }, (c, r, o) => createClient(Auth, c).userGet(r, o));
      case "userList":
        return of({}, (c, r, o) => createClient(Auth, c).userList(r, o));
      case "roleAdd":
        return of({ name: role }, (c, r, o) => createClient(Auth, c).roleAdd(r, o));
      case "roleDelete":
        return of({ role }, (c, r, o) => createClient(Auth, c).roleDelete(r, o));
      case "roleGrant": {
        const perm = { permType: random.below(3), ...this.#granted() };
        return of({ name: role, perm }, (c, r, o) => createClient(Auth, c).roleGrantPermission(r, o));
      }
      case "roleRevoke": {
        const range = random.chance(0.9) ? this.#granted() : this.#range();
        return of({ role, ...range }, (c, r, o) => createClient(Auth, c).roleRevokePermission(r, o));
      }
      case "roleGet":
        // Of root, 3.4 shows permissions that it was given and never needs.
        return of({ role: role === "root" ? "r1" : role }, (c, r, o) => createClient(Auth, c).roleGet(r, o));
      case "roleList":
        return of({}, (c, r, o) => createClient(Auth, c).roleList(r, o));
      case "put":
        return of(this.#put(this.#key()), (c, r, o) => createClient(KV, c).put(r, o));
      case "range":
        return of({ ...this.#range(), serializable: random.chance(0.5) }, (c, r, o) => createClient(KV, c).range(r, o));
      case "deleteRange":
        return of({ ...this.#range(), prevKv: random.chance(0.5) }, (c, r, o) => createClient(KV, c).deleteRange(r, o));
      case "txn":
        return of(this.#txn(), (c, r, o) => createClient(KV, c).txn(r, o));
      case "leaseGrant":
        return of({ ID: random.pick(LEASES), TTL: 1000n }, (c, r, o) => createClient(Lease, c).leaseGrant(r, o));
      case "leaseRevoke":
        return of({ ID: random.pick([...LEASES, 8n]) }, (c, r, o) => createClient(Lease, c).leaseRevoke(r, o));
      case "leaseTimeToLive":
        return of({ ID: random.pick([...LEASES, 8n]), keys: random.chance(0.6) }, async (c, r, o) => {
          const { TTL, keys, ...rest } = await createClient(Lease, c).leaseTimeToLive(r, o);
          return { ...rest, alive: TTL > 0n, keys: keys.map((k) => Buffer.from(k).toString("latin1")).sort() };
        });
      case "keepAlive":
        return of({ ID: random.pick([...LEASES, 8n]) }, (c, r, o) => keepAliveOnce(c, r.ID, o));
      case "watch":
        return of(this.#watched(), (c, r, o) => firstAnswer(c, r, o));
    }
  }

  #odd(of: readonly string[]): string {
    return this.#random.pick(this.#random.chance(0.04) ? ODD : of);
  }

  #password(user: string): string {
    return this.#random.chance(0.85) ? `pw-${user}` : this.#random.pick(["", "wrong", "x".repeat(72), "ü".repeat(30)]);
  }

  #key(): Uint8Array {
    return bytes(this.#random.chance(0.03) ? "" : this.#random.pick(KEYS));
  }

  /** One that does not end before it begins. */
  #range(): { key: Uint8Array; rangeEnd: Uint8Array } {
    const key = this.#key();
    for (;;) {
      const rangeEnd = bytes(this.#random.pick(ENDS));
      if (rangeEnd.length === 0 || rangeEnd[0] === 0 || Buffer.compare(key, rangeEnd) < 0) return { key, rangeEnd };
    }
  }

  /** Not from a key on: 3.4 asks for the right to that one key alone. */
  #watched(): { key: Uint8Array; rangeEnd: Uint8Array } {
    for (;;) {
      const range = this.#range();
      if (range.rangeEnd[0] !== 0) return range;
    }
  }

  #granted(): { key: Uint8Array; rangeEnd: Uint8Array } {
    const key = this.#random.pick(KEYS);
    return { key: bytes(key), rangeEnd: bytes(GRANTED[key]!) };
  }

  #put(key: Uint8Array): MessageInitShape<typeof PutRequestSchema> {
    return { key, value: bytes(`v${this.#count}`), prevKv: this.#random.chance(0.3), lease: this.#random.pick([0n, 0n, 0n, ...LEASES]) };
  }

  #txn(): MessageInitShape<typeof TxnRequestSchema> {
    const random = this.#random;
    const many = <T>(most: number, make: () => T) => Array.from({ length: random.below(most) }, make);
    const compare = many(2, () => {
      const range = random.chance(0.3) ? this.#range() : { key: this.#key(), rangeEnd: NOTHING };
      return { ...range, target: 0, result: 2, targetUnion: { case: "version" as const, value: 0n } };
    });
    return { compare, success: many(3, () => this.#op()), failure: many(2, () => this.#op()) };
  }

  #op(): MessageInitShape<typeof RequestOpSchema> {
    switch (this.#random.pick(["range", "range", "put", "delete"])) {
      case "put":
        // No key twice in one transaction.
        return { request: { case: "requestPut", value: this.#put(bytes(`${this.#random.pick(KEYS)}${this.#random.below(1e9)}`)) } };
      case "delete":
        return {
          request: { case: "requestDeleteRange", value: { key: bytes(`${this.#random.pick(KEYS)}zz`), prevKv: this.#random.chance(0.3) } },
        };
      default:
        return { request: { case: "requestRange", value: this.#range() } };
    }
  }
}
