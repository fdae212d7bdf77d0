// Quorums against their definition: every subset of the members is tried.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { bootstrap, changed, decodeConfChange, encodeConfChange, isJoint, membersOf, NOBODY } from "./configuration.ts";
import { agreed, outcome, reached } from "./quorum.ts";
import type { ConfChange, Configuration, MemberChange } from "./types.ts";

const id = fc.bigInt({ min: 1n, max: 7n });
const ids = fc.uniqueArray(id, { maxLength: 7 });
const configuration = fc
  .record({ voters: ids, outgoing: ids })
  .map(({ voters, outgoing }): Configuration => ({ ...NOBODY, voters, outgoing }));

const isMajority = (of: readonly bigint[], some: ReadonlySet<bigint>) =>
  of.length === 0 || of.filter((m) => some.has(m)).length * 2 > of.length;
const isQuorum = (c: Configuration, some: ReadonlySet<bigint>) => isMajority(c.voters, some) && isMajority(c.outgoing, some);

test("what is agreed is the largest value that a quorum has reached", () => {
  fc.assert(
    fc.property(configuration, fc.array(fc.nat(20), { minLength: 8, maxLength: 8 }), (c, values) => {
      const of = (m: bigint) => values[Number(m)]!;
      const reachedBy = (value: number) => isQuorum(c, new Set(membersOf(c).filter((m) => of(m) >= value)));
      const value = agreed(c, of);
      if (value === Infinity) expect(c.voters.length + c.outgoing.length).toBe(0);
      else expect([reachedBy(value), reachedBy(value + 1)]).toEqual([true, false]);
    }),
    { numRuns: 500 },
  );
});

test("an election is won with a quorum, lost when there can be none any more, and open in between", () => {
  fc.assert(
    fc.property(configuration, fc.array(fc.option(fc.boolean(), { nil: undefined }), { minLength: 8, maxLength: 8 }), (c, votes) => {
      const with_ = (open: boolean) => new Set(membersOf(c).filter((m) => votes[Number(m)] ?? open));
      const expected = isQuorum(c, with_(false)) ? "won" : isQuorum(c, with_(true)) ? "open" : "lost";
      expect(outcome(c, (m) => votes[Number(m)])).toBe(expected);
    }),
    { numRuns: 500 },
  );
});

test("the majority of one is that one, and of nobody no hindrance", () => {
  expect(reached([3n], () => 7)).toBe(7);
  expect(reached([], () => 7)).toBe(Infinity);
});

const change = fc.record<ConfChange>({
  changes: fc.array(fc.record<MemberChange>({ type: fc.constantFrom("addVoter", "addLearner", "remove"), id }), { maxLength: 4 }),
  transition: fc.constantFrom("auto", "joint", "explicit"),
  context: fc.uint8Array({ maxLength: 9 }),
});

/** All sets of some of these. */
function subsets(of: readonly bigint[]): Set<bigint>[] {
  return Array.from({ length: 1 << of.length }, (_, bits) => new Set(of.filter((_, i) => bits & (1 << i))));
}

test("through any changes, no quorum of a configuration can be apart from one of the next", () => {
  fc.assert(
    fc.property(fc.uniqueArray(id, { minLength: 1, maxLength: 4 }), fc.array(change, { maxLength: 6 }), (voters, changes) => {
      let before = bootstrap(voters).base.configuration;
      for (const c of changes) {
        let after: Configuration;
        try {
          after = changed(before, c);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          continue;
        }
        const everybody = [...new Set([...membersOf(before), ...membersOf(after)])];
        for (const some of subsets(everybody)) {
          const others = new Set(everybody.filter((m) => !some.has(m)));
          expect(isQuorum(before, some) && isQuorum(after, others)).toBe(false);
        }
        // Nobody is two things at once, and somebody votes.
        expect(after.voters.length).toBeGreaterThan(0);
        expect(after.learners.filter((m) => after.voters.includes(m) || after.outgoing.includes(m))).toEqual([]);
        if (!isJoint(after)) expect(after.learnersNext).toEqual([]);
        before = after;
      }
    }),
    { numRuns: 300 },
  );
});

test("a conf change is read back as it was written", () => {
  fc.assert(fc.property(change, (c) => expect(decodeConfChange(encodeConfChange(c))).toEqual(c)));
});
