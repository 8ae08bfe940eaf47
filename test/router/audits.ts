// The laws that look at everything at once: who waits, what is left over, what is free; now and then, and at the end. Told by the books, as laws.ts is.
import type { AdapterId } from '../../src/domain.ts';
import type { RouterState } from '../../src/router/state.ts';
import type { Books } from './books.ts';
import { law } from './broken-law.ts';
import { type EngineBook, isOpen, type Registration, serves } from './records.ts';

/** What a step of the router is judged with. */
export interface Scene {
  readonly now: number;
  readonly state: RouterState;
}

export class Auditor {
  readonly #books: Books;

  constructor(books: Books) {
    this.#books = books;
  }

  /** The laws that look at everything. */
  audit({ now, state }: Scene): void {
    const lines = [...state.lines.values()];
    const inLines = lines.reduce((sum, line) => sum + line.tickets.length, 0);
    const inBooks = [...this.#books.wanted.values()].reduce((sum, count) => sum + count, 0);
    law('who waits for an adapter is in its line', inLines === inBooks, () => `${inLines} in lines, not ${inBooks}`);
    law('the count of the waiting is right', state.waiting === this.#books.waiting.size, () => `${state.waiting}`);
    const isEmpty = lines.find((line) => line.tickets.length === 0 && line.publish === undefined);
    law('an empty line is closed', isEmpty === undefined, () => isEmpty?.adapter ?? '');
    const known = state.tickets.size;
    law('no ticket is forgotten', known === this.#books.tickets.size, () => `${known} known`);
    for (const engine of this.#books.engines.values()) this.#leftovers(engine, state);
    if (this.#books.reserved.size > 0) return;
    for (const adapter of this.#books.wanted.keys()) this.#room(adapter, now);
  }

  /** What nobody uses and nobody may keep is on its way out. */
  #leftovers(engine: EngineBook, state: RouterState): void {
    if (!engine.up || engine.cordoned) return; // what a cordoned one holds stays until it serves again
    const isIdle = (one: Registration) => one.phase === 'loaded' && one.running === 0;
    const idle = [...engine.held.values()].find((one) => isIdle(one) && !this.#books.wanted.has(one.adapter));
    const held = [...(state.backends.get(engine.name)?.held.values() ?? [])];
    const staying = held.filter(({ residency }) => residency.state !== 'draining').length;
    const isOver = staying > engine.slots && idle !== undefined && !this.#books.isReserved(idle.adapter);
    law('what is beyond the slots leaves when it is idle', !isOver, () => `${idle?.adapter} on ${engine.name}`);
    for (const one of engine.held.values()) {
      const isRetired = this.#books.retired.get(one.adapter)?.asked === false && !one.adopted;
      const isStale = isIdle(one) && isRetired && !this.#books.wanted.has(one.adapter);
      law('what is retired leaves when it is idle', !isStale, () => `${one.adapter} on ${engine.name}`);
    }
  }

  /** Nobody waits while a slot that could be his is free. */
  #room(adapter: AdapterId, now: number): void {
    const ticket = [...this.#books.waiting.values()].find(
      ({ target }) => target.kind === 'adapter' && target.adapter === adapter,
    );
    if (ticket === undefined) return;
    if (this.#books.quarantine.has(adapter)) return; // it is tried on one engine, and may wait for its turn
    const able = [...this.#books.engines.values()].filter((engine) => serves(engine, ticket.target) && isOpen(engine));
    const isThere = able.some(({ held }) => (held.get(adapter)?.phase ?? 'unloading') !== 'unloading');
    if (isThere) return;
    const roomy = able.find(
      (engine) =>
        engine.held.size < engine.slots && !engine.held.has(adapter) && !this.#books.hasFailed(engine, adapter, now),
    );
    law('nobody waits while a slot is free', roomy === undefined, () => `${adapter}, ${roomy?.name}`);
  }

  /** After everything has ended and time has passed. */
  over({ state }: Scene): void {
    const { waiting, tickets } = this.#books;
    law('every wait ends', waiting.size === 0, () => `${[...waiting.keys()].slice(0, 9)} wait still`);
    law('nothing is left behind', state.tickets.size === tickets.size, () => `${state.tickets.size} tickets`);
  }
}
