// Who the members of a cluster are. A pure part of the state machine: it follows
// from the log, and is the same on every member.
import { changed, isLearner, NOBODY } from "../raft/configuration.ts";
import type { ConfChange, Configuration } from "../raft/types.ts";

export interface ClusterMember {
  readonly id: bigint;
  /** Empty until the member has started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
}

/** What a conf change says of a member besides its id. */
export interface MemberContext {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/** All of it, as snapshots and the base of a log keep it. */
export interface MembershipState {
  readonly members: readonly ClusterMember[];
  readonly removed: readonly bigint[];
  readonly configuration: Configuration;
  /** What all members are able to, such as "3.6.0"; undefined until the first leader has found out. */
  readonly version: string | undefined;
}

export const NO_MEMBERS: MembershipState = { members: [], removed: [], configuration: NOBODY, version: undefined };

export class Membership {
  #members = new Map<bigint, ClusterMember>();
  #removed = new Set<bigint>();
  #configuration = NOBODY;
  #version: string | undefined;

  /** In the order of their ids. */
  get members(): ClusterMember[] {
    return [...this.#members.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  /** Undefined before the cluster's version was agreed on. */
  get version(): string | undefined {
    return this.#version;
  }

  get size(): number {
    return this.#members.size;
  }

  get(id: bigint): ClusterMember | undefined {
    return this.#members.get(id);
  }

  isLearner(id: bigint): boolean {
    return isLearner(this.#configuration, id);
  }

  /** Whether it was a member once, and never will be again. */
  wasRemoved(id: bigint): boolean {
    return this.#removed.has(id);
  }

  state(): MembershipState {
    return { members: this.members, removed: [...this.#removed], configuration: this.#configuration, version: this.#version };
  }

  restore({ members, removed, configuration, version }: MembershipState): void {
    this.#members = new Map(members.map((m) => [m.id, m]));
    this.#removed = new Set(removed);
    this.#configuration = configuration;
    this.#version = version;
  }

  /** Applies a committed conf change. */
  apply(change: ConfChange): void {
    this.#configuration = changed(this.#configuration, change);
    const context = change.context.length > 0 ? decodeContext(change.context) : undefined;
    for (const { type, id } of change.changes) {
      if (type === "remove") {
        this.#members.delete(id);
        this.#removed.add(id);
      } else if (!this.#members.has(id)) {
        this.#members.set(id, { id, name: context?.name ?? "", peerUrls: context?.peerUrls ?? [], clientUrls: [] });
      }
    }
  }

  /** A member says its name and where it serves clients. */
  publish(id: bigint, name: string, clientUrls: readonly string[]): void {
    const member = this.#members.get(id);
    if (member) this.#members.set(id, { ...member, name, clientUrls });
  }

  /** False if there is no such member. */
  setPeerUrls(id: bigint, peerUrls: readonly string[]): boolean {
    const member = this.#members.get(id);
    if (member) this.#members.set(id, { ...member, peerUrls });
    return member !== undefined;
  }

  setVersion(version: string): void {
    this.#version = version;
  }
}

const VERSION = 1;

export const encodeContext = (context: MemberContext): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ version: VERSION, ...context }));

function decodeContext(data: Uint8Array): MemberContext {
  const { version, name, peerUrls } = JSON.parse(new TextDecoder().decode(data)) as MemberContext & { version: number };
  if (version !== VERSION) throw new RangeError(`what a conf change says of a member has version ${version}, not ${VERSION}`);
  return { name, peerUrls };
}

// Ids are strings in JSON.
const asText = (ids: readonly bigint[]) => ids.map(String);
const asIds = (texts: readonly string[]) => texts.map(BigInt);

/** The state as a plain value without bigints, for JSON and CBOR. */
export function plain({ members, removed, configuration, version }: MembershipState) {
  const { voters, outgoing, learners, learnersNext, autoLeave } = configuration;
  return {
    members: members.map((m) => ({ ...m, id: String(m.id) })),
    removed: asText(removed),
    configuration: {
      voters: asText(voters),
      outgoing: asText(outgoing),
      learners: asText(learners),
      learnersNext: asText(learnersNext),
      autoLeave,
    },
    version: version ?? "",
  };
}

export type PlainMembership = ReturnType<typeof plain>;

export function fromPlain(p: PlainMembership): MembershipState {
  const { voters, outgoing, learners, learnersNext, autoLeave } = p.configuration;
  return {
    members: p.members.map((m) => ({ ...m, id: BigInt(m.id) })),
    removed: asIds(p.removed),
    configuration: {
      voters: asIds(voters),
      outgoing: asIds(outgoing),
      learners: asIds(learners),
      learnersNext: asIds(learnersNext),
      autoLeave,
    },
    version: p.version || undefined,
  };
}

/** The base of a new cluster's log: see wal/format.ts. */
export const encodeBase = (state: MembershipState): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ format: VERSION, ...plain(state) }));

export function decodeBase(data: Uint8Array): MembershipState {
  const value = JSON.parse(new TextDecoder().decode(data)) as PlainMembership & { format: number };
  if (value.format !== VERSION) throw new RangeError(`the base of a log has version ${value.format}, not ${VERSION}`);
  return fromPlain(value);
}
