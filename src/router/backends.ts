// Engines come up, go down, leave the config, are cordoned, list what they hold and fail to load: what that means for what they held, for who waits for
// them, for their standing (health.ts) and for the adapters that they died of (quarantine.ts). It gives nobody a slot (giving.ts does).
import { assertNever, type BackendName } from '../domain.ts';
import { emptyBackend } from './empty-state.ts';
import type { RouterEvent } from './events.ts';
import { type Ejections, perfectHealth } from './health.ts';
import type { Quarantines } from './quarantine.ts';
import type { Refusals } from './refusals.ts';
import type { Slots } from './slots.ts';
import { type BackendState, type Held, isReady, type RouterState } from './state.ts';

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly refusals: Refusals;
  readonly ejections: Ejections;
  readonly quarantines: Quarantines;
  readonly options: { readonly failureMemoryMs: number };
}

type Event<T extends RouterEvent['type']> = Extract<RouterEvent, { type: T }>;

type Told = Event<'backendUp' | 'backendDown' | 'backendGone' | 'cordoned' | 'uncordoned' | 'observed' | 'loadFailed'>;

export class Backends {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #refusals: Refusals;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#state = parts.state;
    this.#slots = parts.slots;
    this.#refusals = parts.refusals;
  }

  step(event: Told, now: number): void {
    switch (event.type) {
      case 'backendUp':
        return this.#up(event, now);
      case 'backendDown':
        return this.#down(event, now);
      case 'backendGone':
        return this.#gone(event.backend, now);
      case 'cordoned':
        return this.#cordon(event.backend, now);
      case 'uncordoned':
        return this.#uncordon(event.backend, now);
      case 'observed':
        this.#slots.observe(event, now);
        return this.#parts.ejections.review(now); // others may have lost their last slot
      case 'loadFailed':
        return this.#loadFailed(event, now);
      default:
        return assertNever(event);
    }
  }

  /** Of one that is up: another engine is there in its place, with nothing in between in which those who wait would be refused. */
  #up(
    { backend: name, bases, slots, rankMax, models, routes, runningMax, startedAt, adapters }: Event<'backendUp'>,
    now: number,
  ): void {
    const backend = this.#known(name);
    const { startedAt: before } = backend;
    const areKnown = before !== undefined && startedAt !== undefined;
    if (backend.up) this.#slots.down(backend, now);
    else if (areKnown && before !== startedAt) this.#died(backend, now);
    Object.assign(backend, {
      up: true,
      bases: new Set(bases),
      slots,
      rankMax,
      models,
      routes,
      startedAt,
      suspects: [],
    });
    backend.limit.fix(runningMax);
    this.#state.failures.delete(name);
    this.#state.isPlanStale = true;
    this.#state.stirred = true; // what failed there before may be tried again
    this.#parts.ejections.up(backend, areKnown && before === startedAt, now);
    this.#welcome(backend);
    for (const adapter of adapters) this.#slots.adopt(backend, adapter, now);
    this.#slots.trim(backend, now);
  }

  /** Taken out and in again while requests run there: of the same process they count again, so that nothing is unloaded under them. */
  #welcome(backend: BackendState): void {
    const { name, startedAt } = backend;
    if (startedAt === undefined) return;
    for (const ticket of this.#state.tickets.values()) {
      if (ticket.place.kind !== 'running') continue;
      const { backend: former } = ticket.place;
      if (former === backend || former.name !== name || former.startedAt !== startedAt) continue;
      former.inFlight--;
      backend.inFlight++;
      ticket.place = { kind: 'running', backend, held: undefined };
    }
  }

  #down({ backend: name, died }: Event<'backendDown'>, now: number): void {
    const backend = this.#state.backends.get(name);
    if (backend === undefined) return;
    this.#empty(backend, now);
    if (died === true) this.#died(backend, now);
    this.#refusals.stranded(now);
  }

  #empty(backend: BackendState, now: number): void {
    if (backend.up) this.#parts.quarantines.goingDown(backend, now);
    this.#slots.down(backend, now);
    this.#parts.ejections.follow(backend, now);
  }

  #died(backend: BackendState, now: number): void {
    for (const adapter of this.#parts.quarantines.died(backend, now)) this.#refusals.giveUpIfHopeless(adapter, now);
  }

  /** What still runs there has its leases closed on a record that nobody looks at any more, unless the engine comes again. */
  #gone(name: BackendName, now: number): void {
    const backend = this.#state.backends.get(name);
    if (backend === undefined) return;
    this.#state.backends.delete(name);
    this.#state.failures.delete(name);
    this.#state.isolated.delete(backend);
    Object.assign(backend.health, perfectHealth());
    this.#slots.down(backend, now);
    this.#parts.ejections.follow(backend, now);
    this.#refusals.stranded(now);
  }

  #loadFailed({ backend: name, adapter, fault, message }: Event<'loadFailed'>, now: number): void {
    const backend = this.#state.backends.get(name);
    const held = backend?.held.get(adapter);
    if (backend === undefined || held?.residency.state !== 'loading') return;
    this.#lose(backend, held, { fault, message, now });
  }

  /** What was taken to be there is not, and a load would change nothing. */
  lacks(backend: BackendState, held: Held, { message, now }: { message: string; now: number }): void {
    if (isReady(backend.held.get(held.adapter))) this.#lose(backend, held, { fault: 'adapter', message, now });
  }

  #lose(
    backend: BackendState,
    held: Held,
    { fault, message, now }: { fault: 'adapter' | 'backend'; message: string; now: number },
  ): void {
    this.#slots.lose(backend, held, now);
    const { failureMemoryMs } = this.#parts.options;
    const memoryMs = fault === 'adapter' ? failureMemoryMs : failureMemoryMs / 10;
    this.#slots.remember(backend.name, held.adapter, { until: now + memoryMs, fault, message });
    this.#refusals.giveUpIfHopeless(held.adapter, now);
  }

  /** Also one that has not come up yet: it will be cordoned when it does. */
  #cordon(name: BackendName, now: number): void {
    const backend = this.#known(name);
    if (backend.cordoned) return;
    backend.cordoned = true;
    this.#parts.ejections.follow(backend, now); // in no index from here on
    this.#slots.cordon(backend, now);
  }

  #uncordon(name: BackendName, now: number): void {
    const backend = this.#state.backends.get(name);
    if (backend?.cordoned !== true) return;
    backend.cordoned = false;
    this.#slots.uncordon(backend, now);
    this.#parts.ejections.follow(backend, now);
  }

  #known(name: BackendName): BackendState {
    const known = this.#state.backends.get(name);
    if (known !== undefined) return known;
    const fresh = emptyBackend(name);
    this.#state.backends.set(name, fresh);
    return fresh;
  }
}
