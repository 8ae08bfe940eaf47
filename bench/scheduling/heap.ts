// Two queues that must be fast: a binary heap with ties by order of entry, and a first-in first-out queue. Nothing else.

export class Heap<T> {
  readonly #keys: number[] = [];
  readonly #orders: number[] = [];
  readonly #items: T[] = [];
  #entered = 0;

  get size(): number {
    return this.#items.length;
  }

  /** The least key; infinite when empty. */
  get key(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY;
  }

  push(key: number, item: T): void {
    let at = this.#items.length;
    const order = this.#entered++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((this.#keys[parent] as number) <= key) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#keys[at] = key;
    this.#orders[at] = order;
    this.#items[at] = item;
  }

  pop(): T | undefined {
    const top = this.#items[0];
    const [key, order, item] = [this.#keys.pop(), this.#orders.pop(), this.#items.pop()];
    if (key === undefined || order === undefined || this.#items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#items.length) break;
      if (child + 1 < this.#items.length && this.#less(child + 1, child)) child++;
      const childKey = this.#keys[child] as number;
      if (childKey > key || (childKey === key && (this.#orders[child] as number) > order)) break;
      this.#move(child, at);
      at = child;
    }
    this.#keys[at] = key;
    this.#orders[at] = order;
    this.#items[at] = item as T;
    return top;
  }

  #less(a: number, b: number): boolean {
    const [x, y] = [this.#keys[a] as number, this.#keys[b] as number];
    return x < y || (x === y && (this.#orders[a] as number) < (this.#orders[b] as number));
  }

  #move(from: number, to: number): void {
    this.#keys[to] = this.#keys[from] as number;
    this.#orders[to] = this.#orders[from] as number;
    this.#items[to] = this.#items[from] as T;
  }
}

export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head < this.#items.length) this.#head++;
    if (this.#head > 1000 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
