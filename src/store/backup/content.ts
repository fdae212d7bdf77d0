// What an etcd's backend holds besides the pairs, and its buckets.
import { create } from "@bufbuild/protobuf";
import { LeaseSchema } from "../../rpc/gen/etcd/lease_pb.ts";
import { AlarmMemberSchema, AlarmType } from "../../rpc/gen/etcd/rpc_pb.ts";
import { toBinary } from "../../rpc/protobuf.ts";
import type { AuthDump } from "../auth/types.ts";
import { ArrayPairs, type BucketSource, type Pairs } from "../bolt/writer.ts";
import type { Alarm, AlarmKind } from "../command.ts";
import type { Version } from "../mvcc/types.ts";
import { roleBytes, userBytes } from "./auth.ts";
import { keyValueSize, putKeyValue, putRevision, revisionBytes, revisionSize } from "./record.ts";

export interface MemberRecord {
  id: bigint;
  name: string;
  peerUrls: readonly string[];
  clientUrls: readonly string[];
  isLearner: boolean;
}

/** All of a store as of one revision. */
export interface Content {
  index: number;
  term: number;
  compactRevision: number;
  /** In order of their revisions: what the compaction kept, and every change since. */
  versions: readonly Version[];
  leases: readonly { id: bigint; ttl: number }[];
  alarms: readonly Alarm[];
  auth: AuthDump;
  members: readonly MemberRecord[];
  removedMembers: readonly bigint[];
  /** Such as "3.6.0". */
  clusterVersion: string;
  /** The release a downgrade goes to, while one is under way. */
  downgradeTarget: string;
}

const ALARMS: Record<AlarmKind, AlarmType> = { nospace: AlarmType.NOSPACE, corrupt: AlarmType.CORRUPT };

const bytes = (text: string) => new TextEncoder().encode(text);
const NOTHING = new Uint8Array(0);

function u64(n: bigint | number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(n)));
  return out;
}

class VersionPairs implements Pairs {
  readonly #versions: readonly Version[];
  constructor(versions: readonly Version[]) {
    this.#versions = versions;
  }
  get count(): number {
    return this.#versions.length;
  }
  keySize(i: number): number {
    return revisionSize(this.#versions[i]!);
  }
  valueSize(i: number): number {
    return keyValueSize(this.#versions[i]!);
  }
  putKey(i: number, into: Uint8Array, at: number): void {
    putRevision(this.#versions[i]!, into, at);
  }
  putValue(i: number, into: Uint8Array, at: number): void {
    putKeyValue(this.#versions[i]!, into, at);
  }
}

/** The buckets that an etcd 3.6 has, in the order of their names, as the file keeps them. */
export function bucketsOf(content: Content): BucketSource[] {
  const { auth, members } = content;
  const bucket = (name: string, pairs: (readonly [Uint8Array | string, Uint8Array])[]): BucketSource => ({
    name,
    pairs: new ArrayPairs(pairs.map(([k, v]) => [typeof k === "string" ? bytes(k) : k, v] as const)),
  });
  return [
    bucket(
      "alarm",
      content.alarms.map((a) => [
        toBinary(AlarmMemberSchema, create(AlarmMemberSchema, { memberID: a.memberId, alarm: ALARMS[a.kind] })),
        NOTHING,
      ]),
    ),
    bucket("auth", [
      ["authEnabled", Uint8Array.of(auth.enabled ? 1 : 0)],
      ["authRevision", u64(auth.revision)],
    ]),
    bucket(
      "authRoles",
      auth.roles.map((r) => [r.name, roleBytes(r)]),
    ),
    bucket(
      "authUsers",
      auth.users.map((u) => [u.name, userBytes(u)]),
    ),
    bucket("cluster", [
      ["clusterVersion", bytes(content.clusterVersion)],
      ["downgrade", bytes(JSON.stringify({ "target-version": content.downgradeTarget, enabled: content.downgradeTarget !== "" }))],
    ]),
    { name: "key", pairs: new VersionPairs(content.versions) },
    bucket(
      "lease",
      content.leases.map(({ id, ttl }) => [u64(id), toBinary(LeaseSchema, create(LeaseSchema, { ID: id, TTL: BigInt(ttl) }))]),
    ),
    bucket(
      "members",
      members.map((m) => [m.id.toString(16), bytes(memberJson(m))]),
    ),
    bucket(
      "members_removed",
      content.removedMembers.map((id) => [id.toString(16), bytes("removed")]),
    ),
    bucket("meta", metaOf(content)),
  ];
}

function metaOf({ index, term, compactRevision, members, clusterVersion }: Content): [string, Uint8Array][] {
  const ids = (learner: boolean) => members.filter((m) => m.isLearner === learner).map((m) => m.id);
  const learners = ids(true);
  const confState = `{"voters":[${ids(false)}]${learners.length > 0 ? `,"learners":[${learners}]` : ""},"auto_leave":false}`;
  const compacted = revisionBytes(compactRevision);
  return [
    ["confState", bytes(confState)],
    ["consistent_index", u64(index)],
    ...(compactRevision > 0
      ? ([
          ["finishedCompactRev", compacted],
          ["scheduledCompactRev", compacted],
        ] as [string, Uint8Array][])
      : []),
    ...(hasStorageVersion(clusterVersion) ? [["storageVersion", bytes(clusterVersion)] as [string, Uint8Array]] : []),
    ["term", u64(term)],
  ];
}

/** Since etcd 3.6; one of before takes the field for what it can't read. */
function hasStorageVersion(version: string): boolean {
  const [major, minor] = version.split(".").map(Number) as [number, number];
  return major > 3 || (major === 3 && minor >= 6);
}

/** As Go writes it: ids are numbers beyond what JSON.stringify can say. */
function memberJson({ id, name, peerUrls, clientUrls, isLearner }: MemberRecord): string {
  const attributes = JSON.stringify({ name: name || undefined, clientURLs: clientUrls.length > 0 ? clientUrls : undefined }).slice(1, -1);
  const learner = isLearner ? ',"isLearner":true' : "";
  return `{"id":${id},"peerURLs":${JSON.stringify(peerUrls)}${learner}${attributes ? `,${attributes}` : ""}}`;
}
