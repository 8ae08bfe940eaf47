// What is known by ticket, for as long as a request lives: a Map in all but its collection by the garbage collector.
// V8's Map and Set keep a pointer from each outgrown table to the next, so that with entries that come and go one dead table in the old
// generation keeps all requests since alive until a full collection. With Maps here and a Set in backends/deadlines.ts `bench:gateway --quick`
// had a p99 of 27 ms for small answers, without them 8 ms. Pages have no such chain. Nor is it one object with integer keys: beside 10,000 that
// wait, V8 went over all of them for one that came and went: 0.5 ms for a refusal that takes 0.5 us in pages.
import type { TicketId } from './domain.ts';

const PAGE_ROWS = 256;

interface Page<T> {
  readonly number: number;
  readonly rows: (T | undefined)[];
  size: number;
}

export class TicketTable<T> {
  readonly #pages: Record<number, Page<T>> = Object.create(null);
  /** Where the last row was set: it stays though it is empty. */
  #last: Page<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: TicketId): T | undefined {
    return this.#pages[Math.floor(id / PAGE_ROWS)]?.rows[id % PAGE_ROWS];
  }

  set(id: TicketId, row: T): void {
    const page = this.#page(Math.floor(id / PAGE_ROWS));
    if (page.rows[id % PAGE_ROWS] === undefined) {
      this.#size++;
      page.size++;
    }
    page.rows[id % PAGE_ROWS] = row;
  }

  delete(id: TicketId): void {
    const page = this.#pages[Math.floor(id / PAGE_ROWS)];
    if (page?.rows[id % PAGE_ROWS] === undefined) return;
    page.rows[id % PAGE_ROWS] = undefined;
    this.#size--;
    page.size--;
    if (page.size === 0 && page !== this.#last) delete this.#pages[page.number];
  }

  /** By ticket, ascending. Walks all of them: not for the hot path. */
  values(): readonly T[] {
    return Object.values(this.#pages).flatMap(({ rows }) => rows.filter((row) => row !== undefined));
  }

  #page(number: number): Page<T> {
    if (this.#last?.number === number) return this.#last;
    const page = this.#pages[number] ?? { number, rows: new Array(PAGE_ROWS), size: 0 };
    if (this.#last?.size === 0) delete this.#pages[this.#last.number];
    this.#pages[number] = page;
    this.#last = page;
    return page;
  }
}
