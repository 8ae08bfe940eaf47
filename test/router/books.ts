// The judge's own books: who waits, who runs, what each engine holds, told only by what happened (events) and what was asked for (effects).
// They decide nothing and know nothing of how the router keeps its state, so that both can be compared. An event about something that is no
// longer so is ignored, so that any part of a history can be left out: histories shrink.
import type {
  AdapterId,
  BackendName,
  BaseName,
  CheckpointId,
  ModelName,
  ReservationId,
  SweepId,
  TicketId,
} from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { Outcome, Reservation, RouterEvent, Target } from '../../src/router/events.ts';
import type { EngineBook, Registration, TicketBook } from './records.ts';

/** The caller has heard nothing yet. */
const isSentBack = (outcome: Outcome): boolean => ['missing', 'refused', 'busy', 'unavailable'].includes(outcome);

type Event<T extends RouterEvent['type']> = Extract<RouterEvent, { type: T }>;

export class Books {
  readonly engines = new Map<BackendName, EngineBook>();
  readonly tickets = new Map<TicketId, TicketBook>();
  /** The one that waits longest comes first. */
  readonly waiting = new Map<TicketId, TicketBook>();
  /** How many wait for each adapter. */
  readonly wanted = new Map<AdapterId, number>();
  readonly over = new Set<TicketId>();
  readonly failures = new Map<string, number>();
  readonly models = new Map<AdapterId, ModelName>();
  readonly published = new Map<ModelName, { checkpoint: CheckpointId; adapter: AdapterId }>();
  /** And whether somebody has asked for it since: then it may stay. */
  readonly retired = new Map<AdapterId, { asked: boolean }>();
  readonly quarantine = new Map<AdapterId, 'kept' | 'trial'>();
  /** An engine died of it, or with it. */
  readonly deadly = new Set<AdapterId>();
  readonly proven = new Set<AdapterId>();
  readonly reserved = new Map<ReservationId, Reservation>();
  /** Slots have gone since something was reserved: it may be short. */
  hasShrunk = false;
  readonly announced = new Map<SweepId, Event<'announced'>['expected']>();
  readonly #failureMemoryMs: number;

  constructor(failureMemoryMs: number) {
    this.#failureMemoryMs = failureMemoryMs;
  }

  /** `believes`: an observation that this event may be is not stale. */
  learn(event: RouterEvent, now: number, believes: boolean): void {
    switch (event.type) {
      case 'arrived':
        return this.#arrived(event, now);
      case 'cancelled':
        return this.end(event.ticket);
      case 'ended':
        return this.#ended(event, now);
      case 'backendUp':
        return this.#up(event, now);
      case 'backendDown':
        return this.#down(event.backend, now);
      case 'backendGone':
        this.#down(event.backend, now);
        return void this.engines.delete(event.backend);
      case 'cordoned':
        this.hasShrunk = true;
        this.engineOf(event.backend).cordoned = true;
        return;
      case 'uncordoned': {
        const engine = this.engines.get(event.backend);
        if (engine !== undefined) engine.cordoned = false;
        return;
      }
      case 'observed':
        return this.#observed(event, now, believes);
      case 'loaded':
      case 'loadFailed':
      case 'unloaded':
      case 'unloadFailed':
        return this.#answered(event, now);
      case 'published': {
        const { adapter, model } = event.target;
        if (this.isKept(adapter)) return;
        this.models.set(adapter, model);
        this.retired.delete(adapter);
        return void this.published.set(event.model, { checkpoint: event.checkpoint, adapter });
      }
      case 'retired':
        for (const [model, { adapter }] of this.published) if (adapter === event.adapter) this.published.delete(model);
        for (const [id, { for: what }] of this.reserved)
          if (what.kind === 'adapter' && what.target.adapter === event.adapter) this.reserved.delete(id);
        this.proven.delete(event.adapter);
        return void this.retired.set(event.adapter, { asked: false });
      case 'reserved':
        return void this.reserved.set(event.reservation.id, event.reservation);
      case 'released':
        this.reserved.delete(event.reservation);
        this.hasShrunk &&= this.reserved.size > 0;
        return;
      case 'announced':
        for (const { target } of event.expected) this.models.set(target.adapter, target.model);
        return void this.announced.set(event.sweep, event.expected);
      case 'withdrawn':
        return void this.announced.delete(event.sweep);
    }
  }

  #arrived({ ticket: id, target, class: kind, tenant }: Event<'arrived'>, now: number): void {
    const ticket: TicketBook = { id, target, class: kind, tenant, waitsSince: now, attempts: 0, place: undefined };
    this.tickets.set(id, ticket);
    this.#wait(ticket, now);
    if (target.kind === 'base') return;
    this.models.set(target.adapter, target.model);
    const retired = this.retired.get(target.adapter);
    if (retired !== undefined) retired.asked = true;
  }

  #wait(ticket: TicketBook, now: number): void {
    ticket.waitsSince = now;
    this.waiting.set(ticket.id, ticket);
    this.#want(ticket.target, 1);
  }

  #want(target: Target, by: 1 | -1): void {
    if (target.kind === 'base') return;
    const count = (this.wanted.get(target.adapter) ?? 0) + by;
    if (count > 0) this.wanted.set(target.adapter, count);
    else this.wanted.delete(target.adapter);
  }

  #unwait(ticket: TicketBook): void {
    if (this.waiting.delete(ticket.id)) this.#want(ticket.target, -1);
  }

  #release(ticket: TicketBook): void {
    if (ticket.place === undefined) return;
    if (ticket.place.engine.trial === ticket.id) ticket.place.engine.trial = undefined;
    ticket.place.engine.running--;
    const { engine, registration } = ticket.place;
    ticket.place = undefined;
    if (registration === undefined) return;
    registration.running--;
    const isOver = registration.phase === 'unloading' && registration.running === 0;
    if (isOver && engine.held.get(registration.adapter) === registration) engine.held.delete(registration.adapter);
  }

  /** Requests that were sent back and wait, or run once more. */
  get retrying(): number {
    let retrying = 0;
    for (const { attempts, place } of this.tickets.values())
      if (attempts === 2 || (attempts === 1 && place === undefined)) retrying++;
    return retrying;
  }

  /** The ticket is over. */
  end(id: TicketId): void {
    const ticket = this.tickets.get(id);
    if (ticket === undefined) return;
    this.#unwait(ticket);
    this.#release(ticket);
    this.tickets.delete(id);
    this.over.add(id);
  }

  #ended({ ticket: id, outcome }: Event<'ended'>, now: number): void {
    const ticket = this.tickets.get(id);
    if (ticket?.place === undefined) return;
    const { registration } = ticket.place;
    if (outcome === 'done' && registration !== undefined) this.proven.add(registration.adapter);
    if (!isSentBack(outcome)) return this.end(id);
    if (outcome === 'missing' && registration !== undefined) registration.forgotten = true;
    this.#release(ticket);
    this.#wait(ticket, now);
  }

  engineOf(name: BackendName): EngineBook {
    const known = this.engines.get(name);
    if (known !== undefined) return known;
    const engine: EngineBook = {
      ...{ name, up: false, cordoned: false, bases: new Set<BaseName>(), slots: 0, held: new Map(), running: 0 },
      ...{ rankMax: undefined, runningMax: undefined, startedAt: undefined, crowded: false, touchedAt: 0 },
      ...{ standing: 'whole' as const, trial: undefined, suspects: new Set<AdapterId>() },
    };
    this.engines.set(name, engine);
    return engine;
  }

  /** Of one that is up: another is there in its place. */
  #up(event: Event<'backendUp'>, now: number): void {
    const { backend: name, adapters, bases, slots, rankMax, runningMax, startedAt } = event;
    const engine = this.engineOf(name);
    if (engine.up) this.#down(name, now);
    Object.assign(engine, { up: true, bases: new Set(bases), slots, rankMax, runningMax, startedAt });
    for (const ticket of this.tickets.values()) {
      const former = ticket.place?.engine;
      if (former === undefined || former === engine || former.name !== name) continue;
      if (startedAt === undefined || former.startedAt !== startedAt) continue;
      former.running--;
      engine.running++;
      ticket.place = { engine, registration: undefined };
    }
    for (const key of [...this.failures.keys()]) if (key.startsWith(`${name} `)) this.failures.delete(key);
    for (const adapter of adapters) this.#adopt(engine, adapter, now);
  }

  /** Held though nobody asked. */
  #adopt(engine: EngineBook, adapter: AdapterId, now: number): void {
    if (engine.held.has(adapter)) return;
    engine.touchedAt = now;
    this.#register(engine, adapter, 'loaded');
  }

  /** Whoever still runs on that name there runs on this. */
  #register(engine: EngineBook, adapter: AdapterId, phase: Registration['phase']): void {
    const states = { running: 0, isTried: false, forgotten: false, adopted: phase === 'loaded' };
    const registration: Registration = { adapter, phase, ...states };
    engine.held.set(adapter, registration);
    for (const { place, target } of this.tickets.values()) {
      if (place?.engine !== engine || target.kind === 'base' || target.adapter !== adapter) continue;
      place.registration = registration;
      registration.running++;
    }
  }

  #down(name: BackendName, now: number): void {
    const engine = this.engines.get(name);
    if (engine === undefined) return;
    const suspects = [...engine.held.values()].filter(
      ({ adapter, phase, isTried }) => !this.proven.has(adapter) && (phase === 'loading' || isTried),
    );
    if (engine.up) engine.suspects = new Set(suspects.map(({ adapter }) => adapter));
    engine.up = false;
    this.hasShrunk = true;
    engine.touchedAt = now;
    engine.held.clear();
  }

  #observed({ backend, slots, adapters }: Event<'observed'>, now: number, believes: boolean): void {
    const engine = this.engines.get(backend);
    if (engine?.up !== true) return;
    this.hasShrunk ||= slots < engine.slots;
    engine.slots = slots;
    if (!believes) return;
    if (adapters === undefined) return; // it lists nothing
    const listed = new Set(adapters);
    for (const registration of [...engine.held.values()]) {
      if (registration.phase !== 'loaded' || listed.has(registration.adapter)) continue;
      if (registration.running > 0)
        registration.forgotten = true; // its slot changes when it is loaded again, if it may be
      else {
        engine.held.delete(registration.adapter);
        engine.touchedAt = now;
      }
    }
    for (const adapter of adapters) this.#adopt(engine, adapter, now);
  }

  #answered(event: Event<'loaded' | 'loadFailed' | 'unloaded' | 'unloadFailed'>, now: number): void {
    const engine = this.engines.get(event.backend);
    const registration = engine?.held.get(event.adapter);
    const phase = event.type.startsWith('load') ? 'loading' : 'unloading';
    if (engine === undefined || registration?.phase !== phase) return;
    if (phase === 'unloading' && registration.running > 0) return; // nobody was asked to
    engine.touchedAt = now;
    if (event.type === 'loaded' || event.type === 'unloadFailed') registration.phase = 'loaded';
    else if (registration.running === 0) engine.held.delete(event.adapter);
    else registration.phase = 'unloading';
    if (event.type !== 'loadFailed') return;
    this.hasShrunk ||= this.reserved.size > 0;
    const memoryMs = event.fault === 'adapter' ? this.#failureMemoryMs : this.#failureMemoryMs / 10;
    this.failures.set(`${engine.name} ${event.adapter}`, now + memoryMs);
  }

  /** A load that failed there lately is not to be tried again yet. */
  hasFailed(engine: EngineBook, adapter: AdapterId, now: number): boolean {
    return this.failures.size > 0 && (this.failures.get(`${engine.name} ${adapter}`) ?? now) > now;
  }

  /** It is loaded nowhere. */
  isKept(adapter: AdapterId): boolean {
    return this.quarantine.get(adapter) === 'kept';
  }

  #unretire(adapter: AdapterId): void {
    if (this.retired.get(adapter)?.asked === true) this.retired.delete(adapter);
  }

  /** Whether more is there than the slots hold: by no load of ours, or those slots are gone. */
  count(engine: EngineBook, event: RouterEvent): void {
    const isTold = event.type === 'backendUp' || event.type === 'observed';
    engine.crowded = engine.held.size > engine.slots && (engine.crowded || isTold);
  }

  /** An effect that was found lawful. */
  carryOut(effect: Effect, now: number): void {
    switch (effect.type) {
      case 'dispatch': {
        const ticket = this.tickets.get(effect.ticket);
        const engine = this.engines.get(effect.backend);
        if (ticket === undefined || engine === undefined) return;
        this.#unwait(ticket);
        const registration = ticket.target.kind === 'base' ? undefined : engine.held.get(ticket.target.adapter);
        ticket.place = { engine, registration };
        ticket.attempts++;
        engine.running++;
        if (engine.standing === 'trial') engine.trial = ticket.id;
        if (ticket.target.kind === 'adapter') this.#unretire(ticket.target.adapter);
        if (registration === undefined) return;
        registration.running++;
        registration.isTried = true;
        return;
      }
      case 'load': {
        const engine = this.engines.get(effect.backend);
        if (engine === undefined) return;
        const known = engine.held.get(effect.adapter);
        this.#unretire(effect.adapter);
        if (known === undefined) this.#register(engine, effect.adapter, 'loading');
        else Object.assign(known, { phase: 'loading', forgotten: false });
        engine.touchedAt = now;
        return;
      }
      case 'unload': {
        const engine = this.engines.get(effect.backend);
        const registration = engine?.held.get(effect.adapter);
        if (engine === undefined || registration === undefined) return;
        registration.phase = 'unloading';
        engine.touchedAt = now;
        return;
      }
      case 'promote':
        return void this.published.delete(effect.model);
      case 'reject':
        return this.end(effect.ticket);
      case 'standing': {
        const engine = this.engines.get(effect.backend);
        if (engine !== undefined) Object.assign(engine, { standing: effect.standing, trial: undefined });
        return;
      }
      case 'quarantine':
        if (effect.phase === 'over') this.quarantine.delete(effect.adapter);
        else this.quarantine.set(effect.adapter, effect.phase);
        this.deadly.add(effect.adapter);
        return;
    }
  }

  /** Slots are kept for this very adapter. */
  isReserved(adapter: AdapterId): boolean {
    return [...this.reserved.values()].some(
      ({ for: whom }) => whom.kind === 'adapter' && whom.target.adapter === adapter,
    );
  }
}
