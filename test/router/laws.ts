// The laws of the router (ARCHITECTURE.md, "What must always hold"), judged from outside: each event and its effects against the judge's own
// books, then the router's state against those books. A broken law throws; the judge changes nothing and prefers nothing.
import { isDeepStrictEqual } from 'node:util';
import type { AdapterId } from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { refusal } from '../../src/router/reservations.ts';
import type { RouterOptions } from '../../src/router/router.ts';
import type { Residency, RouterState } from '../../src/router/state.ts';
import { Auditor, type Scene } from './audits.ts';
import { Books } from './books.ts';
import { BrokenLaw, law } from './broken-law.ts';
import { couldServe, type EngineBook, isOpen, type Registration, serves, type TicketBook } from './records.ts';

type Asked<T extends Effect['type']> = Extract<Effect, { type: T }>;

export class Judge {
  readonly books: Books;
  readonly auditor: Auditor;
  readonly #options: RouterOptions;
  /** All lines are looked at after so many events; the laws of slots, leases and tickets are checked after each. */
  readonly #auditEvery: number;
  #events = 0;
  #believes = false;

  constructor(options: RouterOptions, auditEvery = 1) {
    this.#options = options;
    this.#auditEvery = auditEvery;
    this.books = new Books(options.failureMemoryMs);
    this.auditor = new Auditor(this.books);
  }

  /** Before the router sees it: what the event means depends on what came before. */
  before(event: RouterEvent, { state }: Scene): void {
    if (event.type === 'reserved') {
      // One that is over-committed never comes to the router, but may be left in a history that was shrunk: nothing is promised then.
      this.books.hasShrunk ||= refusal(state, event.reservation, () => '') !== undefined;
    }
    if (event.type !== 'observed') return;
    const touchedAt = this.books.engines.get(event.backend)?.touchedAt ?? 0;
    // Draining takes no effect that shows; the router may call stale what the books would still believe, never the other way round.
    const changedAt = state.backends.get(event.backend)?.changedAt ?? 0;
    this.#believes = event.askedAt > Math.max(touchedAt, changedAt);
  }

  after(event: RouterEvent, effects: readonly Effect[], scene: Scene): void {
    this.books.learn(event, scene.now, this.#believes);
    for (const engine of this.books.engines.values()) this.books.count(engine, event);
    for (const effect of effects) {
      this.#judge(effect, scene);
      this.books.carryOut(effect, scene.now);
    }
    this.#waits(scene.now);
    for (const engine of this.books.engines.values()) this.#engine(engine, scene.state);
    if (this.#events++ % this.#auditEvery === 0) this.auditor.audit(scene);
  }

  #judge(effect: Effect, scene: Scene): void {
    switch (effect.type) {
      case 'dispatch':
        return this.#dispatch(effect);
      case 'load':
        return this.#load(effect, scene);
      case 'unload':
        return this.#unload(effect, scene);
      case 'reject':
        return this.#reject(effect, scene);
      case 'promote':
        return this.#promote(effect);
      case 'wakeAt':
        return law('a wake-up is in the future', effect.at > scene.now, () => `at ${effect.at}`);
      case 'standing':
        return this.#standing(effect);
      case 'quarantine':
        return this.#quarantine(effect);
    }
  }

  #waitingTicket(id: Asked<'dispatch'>['ticket'], what: string): TicketBook {
    const ticket = this.books.waiting.get(id);
    if (ticket !== undefined) return ticket;
    const [name, why] = this.books.over.has(id)
      ? ['a ticket ends exactly once', 'it is over']
      : ['only who waits is dispatched or refused', this.books.tickets.has(id) ? 'it runs' : 'nobody knows it'];
    throw new BrokenLaw(name, `${what} of ticket ${id}, but ${why}`);
  }

  #engineNamed(name: Asked<'load'>['backend']): EngineBook {
    const engine = this.books.engines.get(name);
    if (engine?.up === true) return engine;
    throw new BrokenLaw('nothing is asked of an engine that is down', name);
  }

  #dispatch({ ticket: id, backend }: Asked<'dispatch'>): void {
    const ticket = this.#waitingTicket(id, 'dispatch');
    const engine = this.#engineNamed(backend);
    const { target } = ticket;
    law('a request goes where it can be served', serves(engine, target), () => `ticket ${id} to ${backend}`);
    law('no request is sent a third time', ticket.attempts < 2, () => `ticket ${id}`);
    this.#open(engine, `ticket ${id}`);
    const runningMax = engine.runningMax ?? Number.POSITIVE_INFINITY;
    law('no more run than an engine may', engine.running < runningMax, () => `ticket ${id} on ${backend}`);
    if (target.kind === 'base') return;
    law('nobody is sent to what is under quarantine', !this.books.isKept(target.adapter), () => `ticket ${id}`);
    const registration = engine.held.get(target.adapter);
    law(
      'a request goes where its adapter is loaded',
      registration?.phase === 'loaded',
      () => `ticket ${id} to ${backend}, where ${target.adapter} is ${registration?.phase ?? 'absent'}`,
    );
    if (registration === undefined || registration.running > 0 || engine.crowded) return;
    const active = [...engine.held.values()].filter(({ running }) => running > 0).length;
    law(
      'distinct adapters in flight stay within the slots',
      active < engine.slots,
      () => `ticket ${id} makes ${active + 1} on ${backend}, which has ${engine.slots} slots`,
    );
  }

  /** One at a time tries an engine that was ejected, and nothing else is placed there. */
  #open({ name, standing, trial }: EngineBook, what: string): void {
    law('nothing is placed on an ejected engine', standing !== 'ejected', () => `${what} on ${name}`);
    law('one request at a time tries an engine', trial === undefined, () => `${what} on ${name}, beside ${trial}`);
  }

  #standing({ backend, standing }: Asked<'standing'>): void {
    const engine = this.books.engines.get(backend);
    const isNews = engine !== undefined && (standing === 'ejected' || engine.standing !== standing);
    law('an engine is told to be what it was not', isNews, () => `${backend} ${standing}`);
  }

  #quarantine({ adapter, phase }: Asked<'quarantine'>): void {
    if (phase !== 'kept') return;
    const isSuspect = [...this.books.engines.values()].some(({ suspects }) => suspects.has(adapter));
    law('only what an engine may have died of is under quarantine', isSuspect, () => adapter);
  }

  /** Others can do all that it does, so that it can be done without. */
  #isReplaceable(engine: EngineBook): boolean {
    const rank = ({ rankMax }: EngineBook) => rankMax ?? Number.POSITIVE_INFINITY;
    const others = [...this.books.engines.values()].filter(
      (other) =>
        other !== engine && other.up && !other.cordoned && other.standing === 'whole' && rank(other) >= rank(engine),
    );
    return [...engine.bases].every((base) => others.some(({ bases }) => bases.has(base)));
  }

  #load({ backend, adapter, why }: Asked<'load'>, { now }: Scene): void {
    const engine = this.#engineNamed(backend);
    law('nothing is loaded where nothing new may go', !engine.cordoned, () => `${adapter} on ${backend}: ${why}`);
    const known = engine.held.get(adapter);
    if (why === 'reload') {
      const may = known?.phase === 'loaded' && known.forgotten;
      return law('only what an engine forgot is loaded again', may, () => `${adapter} on ${backend}`);
    }
    this.#open(engine, adapter);
    const isKept = this.books.isKept(adapter);
    law('what is under quarantine is loaded nowhere', !isKept, () => `${adapter} on ${backend}`);
    law('one load per engine and adapter', known === undefined, () => `${adapter} on ${backend}`);
    law(
      'ready + loading + draining stay within the slots',
      engine.held.size < engine.slots,
      () => `${adapter} is the ${engine.held.size + 1}. on ${backend}, which has ${engine.slots} slots`,
    );
    const hasFailed = this.books.hasFailed(engine, adapter, now);
    law('what failed is not tried again at once', !hasFailed, () => `${adapter} on ${backend}`);
    law('nothing is loaded for nobody', this.#mayLoad(adapter, why), () => `${adapter} on ${backend}: ${why}`);
  }

  #mayLoad(adapter: AdapterId, why: Asked<'load'>['why']): boolean {
    const isAwaited = [...this.books.published.values()].some((published) => published.adapter === adapter);
    if (why === 'replica') return this.#isLoadedSomewhere(adapter);
    if (why === 'prefetch') return this.#isAnnounced(adapter);
    if (why === 'reserved') return this.books.isReserved(adapter);
    return why === 'publish' ? isAwaited : isAwaited || this.books.wanted.has(adapter);
  }

  #isLoadedSomewhere(adapter: AdapterId): boolean {
    return [...this.books.engines.values()].some(({ held }) => held.get(adapter)?.phase === 'loaded');
  }

  #isAnnounced(adapter: AdapterId): boolean {
    const sweeps = [...this.books.announced.values()];
    return sweeps.some((expected) => expected.some((one) => one.target.adapter === adapter && one.requests > 0));
  }

  #unload({ backend, adapter, why }: Asked<'unload'>, { state }: Scene): void {
    const engine = this.#engineNamed(backend);
    const registration = engine.held.get(adapter);
    const detail = () => `${adapter} on ${backend}: ${why}`;
    law('only what is loaded is unloaded, once', registration?.phase === 'loaded', detail);
    law('an adapter with a lease is never unloaded', registration?.running === 0, detail);
    if (why === 'retired') law('who was not retired stays', this.books.retired.has(adapter), detail);
    if (why === 'quarantine') law('who was never under quarantine stays', this.books.deadly.has(adapter), detail);
    if (why === 'surplus') law('a slot too many is one', this.#occupied(engine) > engine.slots, detail);
    if (why === 'evict' || why === 'replica' || why === 'prefetch' || why === 'drain') {
      const isFull = engine.held.size >= engine.slots || this.books.reserved.size > 0;
      law('nothing is evicted while there is room', isFull, detail);
    }
    if (why === 'evict' || why === 'replica' || why === 'prefetch') {
      law('who is waited for is not evicted', !this.books.wanted.has(adapter), detail);
      law('what is reserved is not evicted', this.#isSpare(adapter, engine, state), detail);
    }
    if (why === 'evict' || why === 'drain')
      this.#heir(state, state.backends.get(engine.name)?.held.get(adapter)?.residency);
  }

  /**
   * As many of it stay as are reserved. Not judged: where slots have gone since, where one is being emptied to move it there, and where the
   * plan may have had to keep it elsewhere (one slot stays for everybody else, and reservations compete).
   */
  #isSpare(adapter: AdapterId, engine: EngineBook, state: RouterState): boolean {
    if (engine.slots < 2 || this.books.reserved.size > 1) return true;
    const leaving = [...state.backends.values()].flatMap(({ held }) => [...held.values()]);
    const moves = leaving.some(({ residency }) => residency.state === 'draining' && residency.why === 'reserved');
    if (this.books.hasShrunk || moves) return true;
    const copies = [...this.books.engines.values()].filter(({ held }) => {
      const phase = held.get(adapter)?.phase;
      return phase === 'loaded' || phase === 'loading';
    });
    return [...this.books.reserved.values()].every(
      ({ for: what, slots }) => what.kind !== 'adapter' || what.target.adapter !== adapter || copies.length > slots,
    );
  }

  #occupied(engine: EngineBook): number {
    return [...engine.held.values()].filter(({ phase }) => phase !== 'unloading').length;
  }

  /** A slot is emptied for somebody who waits, and not two at once for the same. */
  #heir(state: RouterState, residency: Residency | undefined): void {
    if (residency?.state !== 'draining' || residency.heir === undefined) return;
    const { heir } = residency;
    law('no slot is emptied for nobody', this.#mayLoad(heir, 'evict') || this.books.isReserved(heir), () => heir);
    if ([...this.books.published.values()].some(({ adapter }) => adapter === heir)) return; // may be wanted on several engines
    let emptied = 0;
    for (const backend of state.backends.values()) {
      const engine = this.books.engines.get(backend.name);
      if (engine === undefined || !isOpen(engine)) continue; // it could not take it
      for (const { residency: other } of backend.held.values()) {
        if (other.state === 'draining' && other.unloading && other.why === 'evict' && other.heir === heir) emptied++;
      }
    }
    law('one slot is emptied for one line', emptied <= 1, () => `${emptied} for ${heir}`);
  }

  #reject({ ticket: id, code }: Asked<'reject'>, { now }: Scene): void {
    const ticket = this.#waitingTicket(id, 'refusal');
    const detail = () => `ticket ${id}, ${code}`;
    const able = [...this.books.engines.values()].filter((engine) => serves(engine, ticket.target));
    const isSpent = ticket.attempts >= 2;
    const budget = Math.max(3, 0.2 * this.books.tickets.size);
    const isOverBudget = ticket.attempts > 0 && this.books.retrying - 1 >= budget;
    if (code === 'no_capacity') {
      const { queueMax, queuePerCheckpointMax } = this.#options;
      const waiting = [...this.books.waiting.values()];
      const alike = waiting.filter(({ target }) => isDeepStrictEqual(target, ticket.target));
      const isFull = waiting.length > queueMax || alike.length > queuePerCheckpointMax;
      const hasWaited = now - ticket.waitsSince >= this.#options.waitMsMax;
      law('"no capacity" is true', isFull || hasWaited || ticket.attempts > 0, detail);
    }
    const isServed = [...this.books.engines.values()].some((engine) => couldServe(engine, ticket.target));
    if (code === 'backend_unavailable') law('"unavailable" is true', !isServed || isSpent || isOverBudget, detail);
    if (code === 'backend_error' && !isSpent && ticket.target.kind === 'adapter') {
      const { adapter } = ticket.target;
      const allFailed = able.every((engine) => this.books.hasFailed(engine, adapter, now));
      law('an engine is blamed only when all failed', allFailed, detail);
    }
  }

  #promote({ model, checkpoint }: Asked<'promote'>): void {
    const published = this.books.published.get(model);
    law('only the newest that waits is promoted, once', published?.checkpoint === checkpoint, () => checkpoint);
    const isWarm = published !== undefined && this.#isLoadedSomewhere(published.adapter);
    law('`latest` moves to what is warm', isWarm, () => checkpoint);
  }

  #waits(now: number): void {
    for (const ticket of this.books.waiting.values()) {
      const waited = now - ticket.waitsSince;
      const isSpent = ticket.attempts >= 2;
      law('who was sent back twice is told at once', !isSpent, () => `ticket ${ticket.id}`);
      law('no wait passes its bound', waited <= this.#options.waitMsMax, () => `${ticket.id} waited ${waited} ms`);
      return; // the first has waited longest
    }
  }

  /** The router's view of an engine is what the books say. */
  #engine(engine: EngineBook, state: RouterState): void {
    const backend = state.backends.get(engine.name);
    const name = engine.name;
    law('in flight is what runs there', backend?.inFlight === engine.running, () => `${name}: ${engine.running}`);
    const mayBeOut = !engine.up || engine.standing === 'whole' || this.#isReplaceable(engine);
    law('the last engine that can serve something is never ejected', mayBeOut, () => name);
    law('what is held is what was loaded', backend?.held.size === engine.held.size, () => name);
    for (const registration of engine.held.values()) {
      const held = backend?.held.get(registration.adapter);
      const isKept = this.books.isKept(registration.adapter);
      const isLeft = isKept && !engine.cordoned && registration.phase === 'loaded' && registration.running === 0;
      law('what is under quarantine leaves', !isLeft, () => `${registration.adapter} on ${name}`);
      const detail = () => `${registration.adapter} on ${name}: ${registration.phase}, ${registration.running} running`;
      law('residency is what was asked and answered', phaseOf(held?.residency) === registration.phase, detail);
      law('leases are the requests in flight', held?.leases === registration.running, detail);
    }
  }
}

function phaseOf(residency: Residency | undefined): Registration['phase'] | undefined {
  if (residency?.state === 'draining') return residency.unloading ? 'unloading' : 'loaded';
  return residency?.state === 'ready' ? 'loaded' : residency?.state;
}
