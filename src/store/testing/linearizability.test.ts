import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { assertLinearizable, checkLinearizable, type Operation, type Value } from "./linearizability.ts";

const NEVER = Number.POSITIVE_INFINITY;
let clients = 0;
const at = (call: number, end: number, key = "k") => ({ client: clients++, key, call, return: end });
const accepts = (...operations: Operation[]) => expect(checkLinearizable(operations)).toEqual({ linearizable: true });
const refuses = (...operations: Operation[]) => expect(checkLinearizable(operations).linearizable).toBe(false);

describe("a history is refused in which", () => {
  test("a get finds what nobody wrote", () => {
    refuses({ ...at(1, 2), type: "put", value: "a" }, { ...at(3, 4), type: "get", value: "b" });
  });

  test("an acknowledged put is lost", () => {
    refuses({ ...at(1, 2), type: "put", value: "a" }, { ...at(3, 4), type: "get", value: null });
  });

  test("a get finds what was overwritten before it began", () => {
    refuses({ ...at(1, 2), type: "put", value: "a" }, { ...at(3, 4), type: "put", value: "b" }, { ...at(5, 6), type: "get", value: "a" });
  });

  test("a second get finds an older value than the first", () => {
    const put: Operation = { ...at(1, 9), type: "put", value: "a" };
    accepts(put, { ...at(2, 3), type: "get", value: null }, { ...at(4, 5), type: "get", value: "a" });
    refuses(put, { ...at(2, 3), type: "get", value: "a" }, { ...at(4, 5), type: "get", value: null });
  });

  test("a put that had no answer is seen, and then is not", () => {
    const put: Operation = { ...at(1, NEVER), type: "put", value: "a" };
    accepts(put, { ...at(2, 3), type: "get", value: null }, { ...at(4, 5), type: "get", value: "a" });
    accepts(put, { ...at(2, 3), type: "get", value: null }, { ...at(4, 5), type: "get", value: null });
    refuses(put, { ...at(2, 3), type: "get", value: "a" }, { ...at(4, 5), type: "get", value: null });
  });

  test("an operation is seen before it was called", () => {
    refuses({ ...at(1, 2), type: "get", value: "a" }, { ...at(3, NEVER), type: "put", value: "a" });
  });

  test("two compare-and-swaps win from one value", () => {
    const first: Operation = { ...at(1, 5), type: "cas", expect: null, value: "a", succeeded: true };
    accepts(first, { ...at(1, 5), type: "cas", expect: null, value: "b", succeeded: false });
    refuses(first, { ...at(1, 5), type: "cas", expect: null, value: "b", succeeded: true });
    refuses(first, { ...at(1, 5), type: "cas", expect: null, value: "b", succeeded: false, found: "c" });
  });

  test("two deletes find the same put", () => {
    const put: Operation = { ...at(1, 2), type: "put", value: "a" };
    accepts(put, { ...at(3, 6), type: "delete", deleted: true }, { ...at(4, 7), type: "delete", deleted: false });
    refuses(put, { ...at(3, 6), type: "delete", deleted: true }, { ...at(4, 7), type: "delete", deleted: true });
  });

  test("two gets see two puts in different orders", () => {
    refuses(
      { ...at(1, 9), type: "put", value: "a" },
      { ...at(1, 9), type: "put", value: "b" },
      { ...at(2, 3), type: "get", value: "a" },
      { ...at(4, 5), type: "get", value: "b" },
      { ...at(6, 7), type: "get", value: "a" },
    );
  });

  test("a put tells another value before it than there was", () => {
    refuses({ ...at(1, 2), type: "put", value: "a", previous: null }, { ...at(3, 4), type: "put", value: "b", previous: null });
  });
});

test("keys are independent, and the refusal names the key and where its story ends", () => {
  const operations: Operation[] = [
    { ...at(1, 2, "x"), type: "put", value: "a" },
    { ...at(3, 4, "y"), type: "get", value: null },
    { ...at(3, 4, "x"), type: "get", value: "b" },
  ];
  expect(() => assertLinearizable(operations)).toThrow(
    /^not linearizable: key x: after\n.*"put".*"a".*\nnone of these can follow:\n.*"get".*"b"/,
  );
});

/** Every order that time allows, with and without each unanswered operation. */
function byBruteForce(operations: readonly Operation[]): boolean {
  const go = (value: Value, left: readonly Operation[]): boolean => {
    if (left.every((o) => o.return === NEVER)) return true;
    return left.some((o) => {
      if (left.some((p) => p.return < o.call)) return false;
      const rest = left.filter((p) => p !== o);
      if (o.type === "get") return o.value === value && go(value, rest);
      if (o.type === "put") return (o.previous === undefined || o.previous === value) && go(o.value, rest);
      if (o.type === "delete") return (o.deleted === undefined || o.deleted === (value !== null)) && go(null, rest);
      const equal = o.expect === value;
      if (o.succeeded !== undefined && o.succeeded !== equal) return false;
      return (equal || o.found === undefined || o.found === value) && go(equal ? o.value : value, rest);
    });
  };
  return go(
    null,
    operations.filter((o) => o.type !== "get" || o.return !== NEVER),
  );
}

test("agrees with trying every order, for any small history", () => {
  const value = fc.constantFrom("a", "b", "c");
  const maybe = fc.option(value);
  const action = fc.oneof(
    fc.record({ type: fc.constant("get" as const), value: maybe }),
    fc.record({ type: fc.constant("put" as const), value, previous: fc.option(maybe, { nil: undefined }) }),
    fc.record({ type: fc.constant("delete" as const), deleted: fc.boolean() }),
    fc.record({
      type: fc.constant("cas" as const),
      expect: maybe,
      value: maybe,
      succeeded: fc.boolean(),
      found: fc.option(maybe, { nil: undefined }),
    }),
  );
  const operation = fc.tuple(action, fc.nat(12), fc.nat(6), fc.boolean()).map(([a, call, length, answered]): Operation => {
    const { deleted: _, succeeded: __, previous: ___, found: ____, ...asked } = a as Record<string, unknown>;
    return { client: 0, key: "k", call, return: answered ? call + length : NEVER, ...(answered ? a : asked) } as Operation;
  });
  const seen = { yes: 0, no: 0 };
  fc.assert(
    fc.property(fc.array(operation, { minLength: 2, maxLength: 6 }), (operations) => {
      const expected = byBruteForce(operations);
      seen[expected ? "yes" : "no"]++;
      expect(checkLinearizable(operations).linearizable).toBe(expected);
    }),
    { numRuns: 5000 },
  );
  expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(100);
});

interface Shape {
  clients: number;
  keys: number;
  operations: number;
  /** Of a hundred, how many have no answer. */
  lost: number;
}

/** What clients of a store see that does one thing at a time, at a random instant of each call. */
function history(random: () => number, { clients, keys, operations, lost }: Shape): Operation[] {
  const store = new Map<string, Value>();
  const busy: { until: number; act: number; run: () => void }[] = [];
  const all: Operation[] = [];
  const pick = (n: number) => Math.floor(random() * n);
  for (let n = 0, now = 0; n < operations; now++) {
    for (const b of busy.filter((b) => b.act === now)) b.run();
    busy.splice(0, busy.length, ...busy.filter((b) => b.until > now || b.act > now));
    while (busy.length < clients && n < operations && random() < 0.5) {
      const until = now + 1 + pick(20);
      const unanswered = pick(100) < lost;
      const span = { client: n, key: `k${pick(keys)}`, call: now + 0.1, return: unanswered ? NEVER : until + 0.9 };
      const value = `v${n++}`;
      const act = now + 1 + pick(unanswered ? 60 : until - now);
      const kind = pick(6);
      const run = () => {
        const held = store.get(span.key) ?? null;
        const answer = <A>(a: A) => (unanswered ? {} : a);
        if (kind < 2) all.push({ ...span, type: "get", value: held });
        else if (kind < 4) {
          all.push({ ...span, type: "put", value, ...(kind === 3 ? answer({ previous: held }) : {}) });
          store.set(span.key, value);
        } else if (kind === 4) {
          all.push({ ...span, type: "delete", ...answer({ deleted: held !== null }) });
          store.delete(span.key);
        } else {
          const succeeded = random() < 0.6;
          const expect = succeeded ? held : "none";
          all.push({ ...span, type: "cas", expect, value, ...answer(succeeded ? { succeeded } : { succeeded, found: held }) });
          if (succeeded) store.set(span.key, value);
        }
      };
      busy.push({ until, act, run });
    }
  }
  return all;
}

/** The numbers of a linear congruential generator (Numerical Recipes). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test("accepts what clients of a sequential store see, and refuses it when one answer is changed", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      const operations = history(random, { clients: 8, keys: 2, operations: 150, lost: 4 });
      assertLinearizable(operations);
      for (const [i, o] of operations.entries()) {
        if (o.type !== "get" || o.return === NEVER || o.value === null || random() < 0.8) continue;
        // The value of the key at some moment after the get had its answer.
        const later = operations.find((p) => p.key === o.key && p.type === "put" && p.call > o.return);
        if (later?.type !== "put") continue;
        const changed = operations.with(i, { ...o, value: later.value });
        expect(checkLinearizable(changed).linearizable).toBe(false);
      }
    }),
    { numRuns: 40 },
  );
});

test("a history of ten thousand operations of 64 clients is decided at once, and so is a wrong one", () => {
  const operations = history(randomFrom(7), { clients: 64, keys: 4, operations: 10_000, lost: 1 });
  assertLinearizable(operations);
  const last = operations.findLastIndex((o) => o.type === "get" && o.return !== NEVER);
  const first = operations.find((o) => o.key === operations[last]!.key && o.type === "put" && o.return !== NEVER);
  expect(
    checkLinearizable(operations.with(last, { ...operations[last]!, type: "get", value: (first as { value: string }).value })).linearizable,
  ).toBe(false);
});
