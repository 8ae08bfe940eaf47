// An array kept in order. A place is found in O(log n), and moving what is behind it is one copy of memory: up to the 10,000 requests
// that may wait this is faster than a tree. The order must be total, and what it looks at must not change while an item is in.

export class Sorted<T> {
  readonly #items: T[] = [];
  readonly #compare: (a: T, b: T) => number;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get length(): number {
    return this.#items.length;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  insert(item: T): void {
    this.#items.splice(this.#indexOf(item), 0, item);
  }

  /** Whether it was there. */
  remove(item: T): boolean {
    const at = this.#indexOf(item);
    if (this.#items[at] !== item) return false;
    this.#items.splice(at, 1);
    return true;
  }

  /** In order. The one that is at hand may be removed meanwhile; what is inserted before it may be missed. */
  *[Symbol.iterator](): Generator<T> {
    for (let at = 0; at < this.#items.length; ) {
      const item = this.#items[at] as T;
      yield item;
      if (this.#items[at] === item) at++;
    }
  }

  /** The first for which it holds, when it holds for all that follow as well. */
  firstWhere(holds: (item: T) => boolean): T | undefined {
    return this.#items[this.#search(holds)];
  }

  #indexOf(item: T): number {
    return this.#search((other) => this.#compare(other, item) >= 0);
  }

  #search(holds: (item: T) => boolean): number {
    let [low, high] = [0, this.#items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(this.#items[middle] as T)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
