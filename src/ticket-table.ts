// What is known by ticket, for as long as a request lives: a Map in all but its collection by the garbage collector.
// V8's Map and Set keep a pointer from each outgrown table to the next, so that with entries that come and go one dead table in the old
// generation keeps all requests since alive until a full collection. With Maps here and a Set in backends/deadlines.ts `bench:gateway --quick`
// had a p99 of 27 ms for small answers, without them 8 ms. An object with integer keys has no such chain.
import type { TicketId } from './domain.ts';

export class TicketTable<T> {
  readonly #rows: Record<number, T> = Object.create(null);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: TicketId): T | undefined {
    return this.#rows[id];
  }

  set(id: TicketId, row: T): void {
    if (this.#rows[id] === undefined) this.#size++;
    this.#rows[id] = row;
  }

  delete(id: TicketId): void {
    if (this.#rows[id] === undefined) return;
    this.#size--;
    delete this.#rows[id];
  }

  /** By ticket, ascending. Walks all of them: not for the hot path. */
  values(): readonly T[] {
    return Object.values(this.#rows);
  }
}
