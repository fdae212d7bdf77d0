// What a state machine holds survives the way through an etcd's backend file.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { BoltReader } from "../bolt/reader.ts";
import { boltFile } from "../bolt/writer.ts";
import type { Command } from "../command.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Event } from "../mvcc/types.ts";
import { Version } from "../mvcc/types.ts";
import { StateMachine } from "../state.ts";
import { collectVersions } from "./collect.ts";
import { bucketsOf, type Content } from "./content.ts";
import { loadBackend } from "./load.ts";
import { decodeKeyValue, decodeRevision, keyValueSize, putKeyValue, putRevision, revisionSize } from "./record.ts";

const bytes = (s: string) => new TextEncoder().encode(s);

function finish<T>(work: Generator<void, T>, between: () => void = () => {}): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    between();
  }
}

const key = fc.integer({ min: 0, max: 9 }).map((n) => bytes(`k${n}`));
const put = fc.record({
  type: fc.constant("put" as const),
  key,
  value: fc.uint8Array({ maxLength: 20 }),
  lease: fc.constantFrom(0n, 7n, -8n),
});
const del = fc.record({ type: fc.constant("delete" as const), key, end: fc.option(key, { nil: undefined }) });
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc
      .uniqueArray(fc.oneof({ weight: 3, arbitrary: put }, del), {
        minLength: 1,
        maxLength: 3,
        selector: (op) => Buffer.from(op.key).toString(),
      })
      // A range that deletes what the same transaction puts is refused before it comes this far.
      .map(
        (ops): Command => ({
          type: "txn",
          compare: [],
          success: ops.length > 1 ? ops.map((op) => (op.type === "delete" ? { ...op, end: undefined } : op)) : ops,
          failure: [],
        }),
      ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }).map((revision): Command => ({ type: "compact", revision })) },
  { weight: 1, arbitrary: fc.constantFrom(7n, -8n).map((id): Command => ({ type: "leaseGrant", id, ttl: 60 })) },
  { weight: 1, arbitrary: fc.constantFrom(7n, -8n).map((id): Command => ({ type: "leaseRevoke", id })) },
);

function run(state: StateMachine, commands: readonly Command[]): void {
  for (const c of commands) {
    try {
      state.apply(state.index + 1, 3, c, 0);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    if (c.type === "compact") state.mvcc.prune();
  }
}

function contentOf(state: StateMachine, between?: () => void): Content {
  const { index, term } = state;
  const { compactRevision } = state.mvcc;
  const leases = [...state.lessor.all()].map(({ id, ttl }) => ({ id, ttl }));
  return {
    index,
    term,
    compactRevision,
    leases,
    alarms: [{ memberId: 5n, kind: "nospace" }],
    auth: { enabled: false, revision: 1, users: [], roles: [] },
    members: [{ id: 0xcdf818194e3a8c32n, name: "a", peerUrls: ["http://h:1"], clientUrls: [], isLearner: true }],
    removedMembers: [12n],
    clusterVersion: "3.6.0",
    downgradeTarget: "",
    versions: finish(collectVersions(state.mvcc), between),
  };
}

function reader(content: Content): BoltReader {
  const file = Buffer.concat(Array.from(finish(boltFile(bucketsOf(content))).chunks(), (c) => c.slice()));
  return new BoltReader({ name: "db", size: file.length, read: (at, length) => file.subarray(at, at + length) });
}

/** All that a client can see, at every revision that is left. */
function seen(state: StateMachine) {
  const { mvcc, lessor } = state;
  const all = { key: Uint8Array.of(0), end: Uint8Array.of(0) };
  const from = Math.max(1, mvcc.compactRevision);
  const events: string[] = [];
  mvcc.events(from, mvcc.revision, { start: "", end: undefined }, ({ type, kv }: Event) => {
    // What held at the compacted revision is told from the pairs below.
    if (kv.modRevision > mvcc.compactRevision) events.push(`${type} ${Buffer.from(kv.key)} ${kv.modRevision}.${kv.sub}`);
  });
  return {
    revision: mvcc.revision,
    compacted: mvcc.compactRevision,
    pairs: Array.from({ length: mvcc.revision - from + 1 }, (_, i) =>
      mvcc.range({ ...all, revision: from + i }).kvs.map((kv) => ({ ...kv })),
    ),
    events,
    leases: [...lessor.all()].map((l) => [l.id, l.ttl, [...l.keys].sort()]).sort(),
    size: mvcc.size,
  };
}

test("keys, revisions, history and leases come back, whatever was done before", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const state = new StateMachine();
      run(state, commands);
      const back = new StateMachine();
      loadBackend(reader(contentOf(state)), back, 0);
      expect(seen(back)).toEqual(seen(state));
    }),
    { numRuns: 150 },
  );
}, 30_000);

test("a backup is of one revision, whatever is written and compacted while it is gathered", () => {
  const state = new StateMachine();
  const write = (n: number): Command => ({
    type: "txn",
    compare: [],
    success: [put, put].map((_, i) => ({ type: "put", key: bytes(`${i}/${n % 9000}`), value: bytes(String(n)) })),
    failure: [],
  });
  for (let n = 0; n < 12_000; n++) state.apply(n + 1, 1, write(n), 0);
  state.mvcc.compact(9000);
  const { revision } = state.mvcc;
  let n = 12_000;
  const content = contentOf(state, () => {
    for (let k = 0; k < 50; k++) state.apply(n, 1, write(n++ * 7), 0);
    if (n === 12_300) state.mvcc.compact(10_000);
  });
  expect(n).toBeGreaterThan(12_300);
  const back = new StateMachine();
  loadBackend(reader(content), back, 0);
  expect([back.mvcc.revision, back.mvcc.compactRevision]).toEqual([revision, 9000]);
  const at = (s: StateMachine) => s.mvcc.range({ key: Uint8Array.of(0), end: Uint8Array.of(0), revision }).kvs.map((kv) => ({ ...kv }));
  expect(at(back)).toEqual(at(state));
}, 30_000);

test("revisions that a restore had bumped leave a gap, which is taken as compacted", () => {
  const state = new StateMachine();
  run(
    state,
    Array.from(
      { length: 5 },
      (_, i): Command => ({ type: "txn", compare: [], success: [{ type: "put", key: bytes(`k${i}`), value: bytes("v") }], failure: [] }),
    ),
  );
  const content = contentOf(state);
  const last = content.versions.at(-1)!;
  const later = new Version(bytes("k9"), last.bytes, 1_000_006, 1_000_006, last.version, last.lease, last.sub);
  const bumped = { ...content, versions: [...content.versions, later] };
  const back = new StateMachine();
  loadBackend(reader(bumped), back, 0);
  expect([back.mvcc.revision, back.mvcc.compactRevision, back.mvcc.keys.live]).toEqual([1_000_006, 1_000_005, 6]);
}, 30_000);

test("a pair's bytes are those of etcd", () => {
  const state = new StateMachine();
  state.lessor.grant(0x7fff_ffff_ffff_fff0n, 60, 0);
  run(state, [
    {
      type: "txn",
      compare: [],
      success: [{ type: "put", key: bytes("a"), value: new Uint8Array(300), lease: 0x7fff_ffff_ffff_fff0n }],
      failure: [],
    },
    { type: "txn", compare: [], success: [{ type: "delete", key: bytes("a") }], failure: [] },
  ]);
  const [version, deletion] = contentOf(state).versions;
  const key = new Uint8Array(revisionSize(deletion!));
  putRevision(deletion!, key, 0);
  expect(Buffer.from(key).toString("latin1")).toBe("\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0t");
  const value = new Uint8Array(keyValueSize(version!));
  expect(putKeyValue(version!, value, 0)).toBe(value.length);
  expect(Buffer.from(value.subarray(0, 12)).toString("hex")).toBe("0a0161100218022001" + "2aac02");
  expect(Buffer.from(value.subarray(-10)).toString("hex")).toBe("30f0ffffffffffffff7f");
  expect(decodeKeyValue({ main: 2, sub: 0, tombstone: false }, value)).toEqual(version!);
  expect(decodeRevision(key)).toEqual({ main: 3, sub: 0, tombstone: true });
  expect(decodeRevision(key.subarray(1))).toBeUndefined();
  expect(() => decodeKeyValue({ main: 9, sub: 0, tombstone: false }, value)).toThrow("revision 2 and version 1");
  expect(() => decodeKeyValue({ main: 2, sub: 0, tombstone: false }, value.subarray(0, 40))).toThrow("cut short");
}, 30_000);
