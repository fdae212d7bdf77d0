/**
 * Messages that a stream has received, for one reader. What is taken is told
 * to `onTake`, so that the peer may send as much again.
 */
export class MessageQueue<T> implements AsyncIterableIterator<T> {
  readonly #items: { value: T; cost: number }[] = [];
  readonly #onTake: (cost: number) => void;
  readonly #onReturn: () => void;
  #waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void } | undefined;
  #end: { error: unknown } | undefined;

  /** @param onReturn the reader wants no more */
  constructor(onTake: (cost: number) => void, onReturn: () => void) {
    this.#onTake = onTake;
    this.#onReturn = onReturn;
  }

  /** @param cost bytes of the wire that it took */
  push(value: T, cost: number): void {
    if (this.#end) {
      // Nobody reads it any more: the peer may go on all the same.
      this.#onTake(cost);
      return;
    }
    const waiting = this.#waiting;
    if (!waiting) {
      this.#items.push({ value, cost });
      return;
    }
    this.#waiting = undefined;
    this.#onTake(cost);
    waiting.resolve({ value, done: false });
  }

  /** No more come; with an error the reader gets that, after what is there. */
  end(error?: unknown): void {
    if (this.#end) return;
    this.#end = { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    if (error === undefined) waiting.resolve({ value: undefined, done: true });
    else waiting.reject(error);
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item) {
      this.#onTake(item.cost);
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#end) {
      const { error } = this.#end;
      this.#end = { error: undefined };
      return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<T>> {
    const open = !this.#end;
    for (const { cost } of this.#items.splice(0)) this.#onTake(cost);
    this.end();
    if (open) this.#onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
