// Which spans contain a key: a treap by start that knows, for each subtree, the
// furthest end. Priorities come from a counter, so that equal histories build equal trees.
import type { Span } from "./key.ts";

class Node<T> {
  readonly span: Span;
  readonly value: T;
  readonly priority: number;
  left: Node<T> | undefined;
  right: Node<T> | undefined;
  /** Furthest end below; undefined is without end. */
  furthest: string | undefined;
  constructor(span: Span, value: T, priority: number) {
    this.span = span;
    this.value = value;
    this.priority = priority;
    this.furthest = span.end;
  }
}

const later = (a: string | undefined, b: string | undefined) => (a === undefined || b === undefined ? undefined : a > b ? a : b);

function update<T>(n: Node<T>): Node<T> {
  let end = n.span.end;
  if (n.left) end = later(end, n.left.furthest);
  if (n.right) end = later(end, n.right.furthest);
  n.furthest = end;
  return n;
}

function compareSpans(a: Span, b: Span): number {
  if (a.start !== b.start) return a.start < b.start ? -1 : 1;
  if (a.end === b.end) return 0;
  if (a.end === undefined) return 1;
  if (b.end === undefined) return -1;
  return a.end < b.end ? -1 : 1;
}

export class Intervals<T> {
  #root: Node<T> | undefined;
  #seed = 1;

  /** The value of exactly this span. */
  get(span: Span): T | undefined {
    let n = this.#root;
    while (n) {
      const c = compareSpans(span, n.span);
      if (c === 0) return n.value;
      n = c < 0 ? n.left : n.right;
    }
    return undefined;
  }

  /** Adds a span that is not there yet. */
  add(span: Span, value: T): void {
    // xorshift32
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    const [left, right] = split(this.#root, span);
    this.#root = merge(merge(left, new Node(span, value, this.#seed)), right);
  }

  delete(span: Span): void {
    this.#root = without(this.#root, span);
  }

  /** Visits the values of all spans that contain a key. */
  visit(key: string, found: (value: T) => void): void {
    visit(this.#root, key, found);
  }
}

function visit<T>(n: Node<T> | undefined, key: string, found: (value: T) => void): void {
  if (!n || (n.furthest !== undefined && n.furthest <= key)) return;
  visit(n.left, key, found);
  if (n.span.start > key) return;
  if (n.span.end === undefined || key < n.span.end) found(n.value);
  visit(n.right, key, found);
}

/** Spans below, and at or above. */
function split<T>(n: Node<T> | undefined, at: Span): [Node<T> | undefined, Node<T> | undefined] {
  if (!n) return [undefined, undefined];
  if (compareSpans(n.span, at) < 0) {
    const [left, right] = split(n.right, at);
    n.right = left;
    return [update(n), right];
  }
  const [left, right] = split(n.left, at);
  n.left = right;
  return [left, update(n)];
}

function merge<T>(a: Node<T> | undefined, b: Node<T> | undefined): Node<T> | undefined {
  if (!a || !b) return a ?? b;
  if (a.priority > b.priority) {
    a.right = merge(a.right, b);
    return update(a);
  }
  b.left = merge(a, b.left);
  return update(b);
}

function without<T>(n: Node<T> | undefined, span: Span): Node<T> | undefined {
  if (!n) return undefined;
  const c = compareSpans(span, n.span);
  if (c === 0) return merge(n.left, n.right);
  if (c < 0) n.left = without(n.left, span);
  else n.right = without(n.right, span);
  return update(n);
}
