// Virtual time: what is to happen, in the order of its time, and of its
// planning where times are equal.

interface Planned {
  at: number;
  order: number;
  run: () => void;
}

const before = (a: Planned, b: Planned) => a.at < b.at || (a.at === b.at && a.order < b.order);

export class Schedule {
  #now = 0;
  #order = 0;
  readonly #heap: Planned[] = [];

  /** Milliseconds since the start. */
  get now(): number {
    return this.#now;
  }

  /** @param delay milliseconds from now */
  after(delay: number, run: () => void): void {
    const planned = { at: this.#now + delay, order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(planned);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(planned, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = planned;
  }

  /** Runs until there is nothing left before this time, or `done` says so; returns whether it did. */
  run(until: number, done: () => boolean = () => false): boolean {
    while (!done()) {
      const first = this.#heap[0];
      if (!first || first.at > until) {
        this.#now = until;
        return false;
      }
      this.#pop();
      this.#now = first.at;
      first.run();
    }
    return true;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}
