import { describe, expect, test } from "bun:test";
import { assertNone, type Change, checkRevisions, checkWatch, type Delivery, type Read, type Write } from "./revisions.ts";

const HISTORY: Change[] = [
  { key: "a", value: "1", revision: 2 },
  { key: "b", value: "2", revision: 3 },
  { key: "a", value: "3", revision: 4 },
  { key: "b", value: null, revision: 4 },
  { key: "a", value: "4", revision: 5 },
];
const WRITES: Write[] = [
  { client: 1, call: 1, return: 2, changes: [{ key: "a", value: "1" }], revision: 2 },
  { client: 1, call: 3, return: 5, changes: [{ key: "b", value: "2" }], revision: 3 },
  {
    client: 2,
    call: 4,
    return: 7,
    changes: [
      { key: "a", value: "3" },
      { key: "b", value: null },
    ],
    revision: 4,
  },
  { client: 1, call: 8, return: Number.POSITIVE_INFINITY, changes: [{ key: "a", value: "4" }] },
  { client: 2, call: 8, return: Number.POSITIVE_INFINITY, changes: [{ key: "a", value: "5" }] },
  { client: 3, call: 6, return: 12, changes: [], revision: 5 },
];
const READS: Read[] = [
  { client: 3, call: 3, return: 4, includes: () => true, found: [{ key: "a", value: "1", modRevision: 2 }], revision: 2 },
  { client: 3, call: 8, return: 9, includes: (k) => k === "a", found: [{ key: "a", value: "3", modRevision: 4 }], revision: 4 },
  {
    client: 4,
    call: 9,
    return: 9,
    includes: (k) => k === "b",
    found: [{ key: "b", value: "2", modRevision: 3 }],
    revision: 3,
    serializable: true,
  },
];

describe("revisions", () => {
  test("that follow real time, the history and the reads are right", () => {
    expect(checkRevisions(HISTORY, WRITES, READS)).toEqual([]);
  });

  const wrong: [what: string, finding: RegExp, history: Change[], writes: Write[], reads: Read[]][] = [
    ["told to two writes", /both told revision 3/, HISTORY, WRITES.with(0, { ...WRITES[0]!, revision: 3 }), READS],
    [
      "of a lost write",
      /revision 5 for a=9, which has a=4/,
      HISTORY,
      [...WRITES, { ...WRITES[0]!, call: 9, return: 10, changes: [{ key: "a", value: "9" }], revision: 5 }],
      READS,
    ],
    ["that nobody asked for", /nobody asked for revision 6: c=x/, [...HISTORY, { key: "c", value: "x", revision: 6 }], WRITES, READS],
    [
      "of an unanswered write that happened twice",
      /nobody asked for revision 6: a=4/,
      [...HISTORY, { key: "a", value: "4", revision: 6 }],
      WRITES,
      READS,
    ],
    [
      "against real time",
      /client 1 \[8, 9\] has revision 3, but began after client 2 \[4, 7\] was told 4/,
      HISTORY,
      WRITES.with(1, { ...WRITES[1]!, call: 8, return: 9 }),
      [],
    ],
    [
      "of an unanswered write before it was called",
      /\[10, Infinity\] has revision 5, but began after client 3/,
      HISTORY,
      WRITES.with(3, { ...WRITES[3]!, call: 10 }),
      [{ ...READS[1]!, found: [{ key: "a", value: "4", modRevision: 5 }], revision: 5 }],
    ],
    ["of a stale read", /has revision 3, but began after/, HISTORY, WRITES, READS.with(2, { ...READS[2]!, serializable: false })],
    [
      "of a read that saw something else",
      /read at revision 4 a=1@2; there was a=3@4/,
      HISTORY,
      WRITES,
      READS.with(1, { ...READS[1]!, found: READS[0]!.found }),
    ],
    ["out of order in the history", /the history has 2 after 3/, [HISTORY[1]!, HISTORY[0]!, ...HISTORY.slice(2)], WRITES, READS],
    ["of a torn transaction", /revision 4 for a=3 b=null, which has a=3/, HISTORY.toSpliced(3, 1), WRITES, []],
  ];
  for (const [what, finding, history, writes, reads] of wrong) {
    test(`${what} are found`, () => expect(checkRevisions(history, writes, reads).join("\n")).toMatch(finding));
  }

  test("are told in an error, the first of them", () => {
    expect(() => assertNone("revisions", Array(30).fill("wrong"))).toThrow(/^revisions:\n {2}wrong\n(?: {2}wrong\n){19} {2}and 10 more$/);
    assertNone("revisions", []);
  });
});

describe("a watch", () => {
  const batches: Delivery[] = [
    { revision: 3, changes: HISTORY.slice(0, 2) },
    { revision: 3, changes: [] },
    { revision: 5, changes: HISTORY.slice(2) },
  ];
  const check = (deliveries: Delivery[], more = {}) =>
    checkWatch(HISTORY, { start: 2, includes: () => true, deliveries, through: 5, ...more }).join("\n");

  test("that shows the history in order is right, of all keys or of some, from any revision", () => {
    expect(check(batches)).toBe("");
    expect(check([{ revision: 5, changes: [HISTORY[3]!] }], { start: 4, includes: (k: string) => k === "b" })).toBe("");
    expect(check(batches.slice(0, 2), { through: 3 })).toBe("");
  });

  const wrong: [what: string, finding: RegExp, deliveries: Delivery[]][] = [
    ["gap", /missed 3 b=2/, [{ revision: 2, changes: [HISTORY[0]!] }, batches[2]!]],
    ["missing end", /missed 5 a=4/, [batches[0]!, { revision: 4, changes: HISTORY.slice(2, 4) }]],
    ["duplicate", /had 2 times 3 b=2/, [batches[0]!, { revision: 5, changes: HISTORY.slice(1) }]],
    ["disorder", /revision 2 \(a=1\) came after 3/, [{ revision: 3, changes: [HISTORY[1]!, HISTORY[0]!] }, batches[2]!]],
    [
      "torn revision",
      /revision 4 \(b=null\) came after 4/,
      [batches[0]!, { revision: 4, changes: [HISTORY[2]!] }, { revision: 5, changes: HISTORY.slice(3) }],
    ],
    [
      "change within a revision out of order",
      /out of order/,
      [batches[0]!, { revision: 5, changes: [HISTORY[3]!, HISTORY[2]!, HISTORY[4]!] }],
    ],
    ["invention", /had 5 c=x, which never happened/, [...batches, { revision: 5, changes: [{ key: "c", value: "x", revision: 5 }] }]],
    ["change after progress past it", /came after progress to 4/, [batches[0]!, { revision: 4, changes: [] }, batches[2]!]],
    ["header that is late", /an answer with revision 3 has 2 in its header/, [{ revision: 2, changes: HISTORY.slice(0, 2) }, batches[2]!]],
  ];
  for (const [what, finding, deliveries] of wrong) {
    test(`with a ${what} is found`, () => expect(check(deliveries)).toMatch(finding));
  }
});
