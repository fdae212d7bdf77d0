// Whether what concurrent clients saw can be told as one story: each operation
// takes effect at one instant between its call and its return (Herlihy and
// Wing 1990). The search is Wing and Gong's with Lowe's memory of the
// configurations seen. Keys are independent of one another, so each has a
// search of its own.

interface Span {
  client: number;
  key: string;
  /** When it was called; any clock that all clients share. */
  call: number;
  /** When its answer came. Infinity: no answer came, so it may take effect at any time after its call, or never. */
  return: number;
}

/** A value, or null where there is no key. */
export type Value = string | null;

export type Operation = Span &
  (
    | { type: "get"; value: Value }
    /** `previous` is what the put says it replaced, if it was asked. */
    | { type: "put"; value: string; previous?: Value }
    /** `deleted` is whether there was something; absent without an answer. */
    | { type: "delete"; deleted?: boolean }
    /** If the key has `expect`, it gets `value`. `succeeded` is absent without an answer; `found` is what the other branch read. */
    | { type: "cas"; expect: Value; value: Value; succeeded?: boolean; found?: Value }
  );

export type Verdict =
  | { linearizable: true }
  | {
      linearizable: false;
      key: string;
      /** The longest story that could be told, and the operations of which none can follow it. */
      prefix: Operation[];
      stuck: Operation[];
    };

/** What the key holds after the operation, or undefined if its answer can't come from a key that holds `value`. */
function step(value: Value, o: Operation): { value: Value } | undefined {
  switch (o.type) {
    case "get":
      return value === o.value ? { value } : undefined;
    case "put":
      return o.previous === undefined || o.previous === value ? { value: o.value } : undefined;
    case "delete":
      return o.deleted === undefined || o.deleted === (value !== null) ? { value: null } : undefined;
    case "cas": {
      const equal = value === o.expect;
      if (o.succeeded !== undefined && o.succeeded !== equal) return undefined;
      if (!equal && o.found !== undefined && o.found !== value) return undefined;
      return { value: equal ? o.value : value };
    }
  }
}

/** Whether there is an order of the operations that explains every answer. */
export function checkLinearizable(operations: Iterable<Operation>): Verdict {
  const keys = new Map<string, Operation[]>();
  for (const o of operations) {
    // A get without an answer says nothing.
    if (o.type === "get" && o.return === Number.POSITIVE_INFINITY) continue;
    const list = keys.get(o.key);
    if (list) list.push(o);
    else keys.set(o.key, [o]);
  }
  for (const [key, list] of keys) {
    const verdict = new Search(key, list).run();
    if (!verdict.linearizable) return verdict;
  }
  return { linearizable: true };
}

/** Throws an Error that shows where the story ends, if there is no order that explains every answer. */
export function assertLinearizable(operations: Iterable<Operation>): void {
  const verdict = checkLinearizable(operations);
  if (verdict.linearizable) return;
  const lines = (list: Operation[]) => list.map((o) => `  ${describe(o)}`).join("\n");
  throw new Error(
    `not linearizable: key ${verdict.key}: after\n${lines(verdict.prefix.slice(-10))}\nnone of these can follow:\n${lines(verdict.stuck)}`,
  );
}

function describe(o: Operation): string {
  const { client, key: _, call, return: end, ...what } = o;
  return `client ${client} [${call}, ${end}] ${JSON.stringify(what)}`;
}

/** A place in the search: what has taken effect, and what could be tried next. */
interface Node {
  value: Value;
  /** Answered operations before this one have all taken effect. */
  prefix: number;
  /** Answered operations after it that have too, ascending. */
  beyond: readonly number[];
  /** Unanswered ones that have, ascending. */
  unanswered: readonly number[];
  /** The last was an unanswered one, so the next must show that it happened. */
  unseen: boolean;
  parent: Node | undefined;
  taken: Operation | undefined;
}

/** Configurations after which a history counts as too concurrent to be decided. */
const MOST_CONFIGURATIONS = 4_000_000;

class Search {
  readonly #key: string;
  /** By their calls. */
  readonly #answered: Operation[];
  readonly #unanswered: Operation[];
  /** By value that one operation alone writes: the answered operations that found it. */
  readonly #readers = new Map<Value, number[]>();
  readonly #seen = new Set<string>();
  #deepest: Node | undefined;
  #depth = -1;

  constructor(key: string, operations: readonly Operation[]) {
    this.#key = key;
    const byCall = operations.toSorted((a, b) => a.call - b.call);
    this.#answered = byCall.filter((o) => o.return !== Number.POSITIVE_INFINITY);
    this.#unanswered = byCall.filter((o) => o.return === Number.POSITIVE_INFINITY);
    const writers = new Map<Value, number>();
    for (const o of byCall) if (o.type === "put" || o.type === "cas") writers.set(o.value, (writers.get(o.value) ?? 0) + 1);
    for (const [value, n] of writers) if (n === 1 && value !== null) this.#readers.set(value, []);
    for (const [i, o] of this.#answered.entries()) for (const value of found(o)) this.#readers.get(value)?.push(i);
  }

  /** @throws Error if there are too many orders to try */
  run(): Verdict {
    const stack: Node[] = [{ value: null, prefix: 0, beyond: [], unanswered: [], unseen: false, parent: undefined, taken: undefined }];
    for (let node = stack.pop(); node; node = stack.pop()) {
      // What never took effect may as well come last, where nobody sees it.
      if (node.prefix === this.#answered.length) return { linearizable: true };
      const depth = node.prefix + node.beyond.length;
      if (depth > this.#depth) {
        this.#depth = depth;
        this.#deepest = node;
      }
      for (const next of this.#next(node)) if (this.#isNew(next)) stack.push(next);
      if (this.#seen.size > MOST_CONFIGURATIONS) throw new Error(`key ${this.#key}: too concurrent to be decided`);
    }
    return this.#failure();
  }

  /** What may come next, the likeliest last. */
  #next(node: Node): Node[] {
    const candidates = this.#candidates(node);
    for (const i of candidates) {
      const o = this.#answered[i]!;
      // What changes nothing and fits can come first: all that fitted after it still does.
      if (isDetermined(o) && step(node.value, o)?.value === node.value) return [this.#take(node, i, node.value)];
    }
    // Nobody writes this value again, so those who found it come before it goes.
    const waiting = this.#waiting(node, node.value);
    if (waiting.length > 1) return [];
    const horizon = this.#horizon(node);
    const unlikely: Node[] = [];
    if (waiting.length === 0) {
      for (const [u, o] of this.#unanswered.entries()) {
        if (o.call > horizon) break;
        if (node.unanswered.includes(u) || (node.unseen && isBlind(o))) continue;
        const after = step(node.value, o);
        if (!after || after.value === node.value) continue;
        unlikely.push({ ...node, value: after.value, unanswered: insert(node.unanswered, u), unseen: true, parent: node, taken: o });
      }
    }
    const free: Node[] = [];
    const likely: Node[] = [];
    for (const i of candidates.reverse()) {
      const o = this.#answered[i]!;
      if ((waiting.length > 0 && i !== waiting[0]) || (node.unseen && isBlind(o))) continue;
      const after = step(node.value, o);
      if (!after) continue;
      const next = this.#take(node, i, after.value);
      const readers = this.#waiting(next, after.value);
      if (readers.length === 0) free.push(next);
      else if (readers.some((r) => this.#answered[r]!.call <= this.#horizon(next))) likely.push(next);
      else unlikely.push(next);
    }
    return [...unlikely, ...free, ...likely];
  }

  /** Who found this value, and has not taken effect. */
  #waiting(node: Node, value: Value): number[] {
    return (this.#readers.get(value) ?? []).filter((i) => i >= node.prefix && !node.beyond.includes(i));
  }

  /** The earliest return of those that have not taken effect: what is called later must wait. */
  #horizon(node: Node): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = node.prefix; i < this.#answered.length && this.#answered[i]!.call <= earliest; i++) {
      if (!node.beyond.includes(i)) earliest = Math.min(earliest, this.#answered[i]!.return);
    }
    return earliest;
  }

  #candidates(node: Node): number[] {
    const horizon = this.#horizon(node);
    const among: number[] = [];
    for (let i = node.prefix; i < this.#answered.length && this.#answered[i]!.call <= horizon; i++) {
      if (!node.beyond.includes(i)) among.push(i);
    }
    return among;
  }

  #take(node: Node, i: number, value: Value): Node {
    let beyond = insert(node.beyond, i);
    let { prefix } = node;
    let n = 0;
    while (beyond[n] === prefix) {
      prefix++;
      n++;
    }
    if (n > 0) beyond = beyond.slice(n);
    return { value, prefix, beyond, unanswered: node.unanswered, unseen: false, parent: node, taken: this.#answered[i] };
  }

  #isNew(n: Node): boolean {
    const configuration = `${n.prefix}|${n.beyond}|${n.unanswered}|${n.unseen ? 1 : 0}${n.value === null ? "" : `=${n.value}`}`;
    if (this.#seen.has(configuration)) return false;
    this.#seen.add(configuration);
    return true;
  }

  #failure(): Verdict {
    const prefix: Operation[] = [];
    for (let n = this.#deepest; n?.taken; n = n.parent) prefix.push(n.taken);
    const stuck = this.#candidates(this.#deepest!).map((i) => this.#answered[i]!);
    return { linearizable: false, key: this.#key, prefix: prefix.reverse(), stuck };
  }
}

/** Values that the answer says the key had. */
function found(o: Operation): Value[] {
  if (o.type === "get") return [o.value];
  if (o.type === "put") return o.previous === undefined ? [] : [o.previous];
  if (o.type === "delete") return [];
  return o.succeeded ? [o.expect] : o.found === undefined ? [] : [o.found];
}

/** Whether it does the same to a key whatever the key holds, and tells nothing of it. */
const isBlind = (o: Operation) => (o.type === "put" && o.previous === undefined) || (o.type === "delete" && o.deleted === undefined);

/** Whether its answer says what it did. */
const isDetermined = (o: Operation) => !isBlind(o) && (o.type !== "cas" || o.succeeded !== undefined);

function insert(sorted: readonly number[], n: number): number[] {
  let at = sorted.length;
  while (at > 0 && sorted[at - 1]! > n) at--;
  return [...sorted.slice(0, at), n, ...sorted.slice(at)];
}
