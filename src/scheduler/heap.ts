/** A binary heap whose items can be taken out from the middle. */
export class Heap<T> {
  readonly #before: (a: T, b: T) => boolean;
  readonly #items: T[] = [];
  readonly #at = new Map<T, number>();

  /** `before(a, b)`: a comes out earlier than b. */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }
  peek(): T | undefined {
    return this.#items[0];
  }
  has(item: T): boolean {
    return this.#at.has(item);
  }

  push(item: T): void {
    this.#set(this.#items.length, item);
    this.#up(this.#items.length - 1);
  }

  pop(): T | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.delete(first);
    return first;
  }

  delete(item: T): boolean {
    const at = this.#at.get(item);
    if (at === undefined) return false;
    this.#at.delete(item);
    const last = this.#items.pop()!;
    if (last !== item) {
      this.#set(at, last);
      this.#up(at);
      this.#down(this.#at.get(last)!);
    }
    return true;
  }

  #set(at: number, item: T): void {
    this.#items[at] = item;
    this.#at.set(item, at);
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#items[a]!, this.#items[b]!];
    this.#set(a, y);
    this.#set(b, x);
  }

  #up(at: number): void {
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(this.#items[at]!, this.#items[parent]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(at: number): void {
    for (;;) {
      const left = 2 * at + 1;
      let first = at;
      if (left < this.#items.length && this.#before(this.#items[left]!, this.#items[first]!)) first = left;
      if (left + 1 < this.#items.length && this.#before(this.#items[left + 1]!, this.#items[first]!)) first = left + 1;
      if (first === at) return;
      this.#swap(at, first);
      at = first;
    }
  }
}
