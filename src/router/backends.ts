// Engines come up, go down, leave the config and are cordoned: what that means for what they held and for those who wait for them.
// It gives nobody a slot (giving.ts does), and knows nothing of why an engine is down.
import { assertNever, type BackendName } from '../domain.ts';
import type { RouterEvent } from './events.ts';
import type { Refusals } from './refusals.ts';
import type { Slots } from './slots.ts';
import { type BackendState, emptyBackend, type RouterState } from './state.ts';

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly refusals: Refusals;
}

type Event<T extends RouterEvent['type']> = Extract<RouterEvent, { type: T }>;

export class Backends {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #refusals: Refusals;

  constructor({ state, slots, refusals }: Parts) {
    this.#state = state;
    this.#slots = slots;
    this.#refusals = refusals;
  }

  step(event: Event<'backendUp' | 'backendDown' | 'backendGone' | 'cordoned' | 'uncordoned'>, now: number): void {
    switch (event.type) {
      case 'backendUp':
        return this.#up(event, now);
      case 'backendDown':
        this.#slots.down(event.backend, now);
        return this.#refusals.stranded(now);
      case 'backendGone':
        return this.#gone(event.backend, now);
      case 'cordoned':
        return this.#cordon(event.backend, now);
      case 'uncordoned':
        return this.#uncordon(event.backend, now);
      default:
        return assertNever(event);
    }
  }

  /** Of one that is up: another engine is there in its place, with nothing in between in which those who wait would be refused. */
  #up({ backend: name, bases, slots, rankMax, runningMax, adapters }: Event<'backendUp'>, now: number): void {
    const backend = this.#known(name);
    if (backend.up) this.#slots.down(name, now);
    Object.assign(backend, { up: true, bases: new Set(bases), slots, rankMax });
    backend.limit.fix(runningMax);
    this.#state.failures.delete(name);
    this.#state.roomy.add(backend);
    this.#state.isPlanStale = true;
    this.#state.stirred = true;
    for (const adapter of adapters) this.#slots.adopt(backend, adapter, now);
    this.#slots.trim(backend, now);
  }

  /** What still runs there has its leases closed on a record that nobody looks at any more. */
  #gone(name: BackendName, now: number): void {
    if (!this.#state.backends.has(name)) return;
    this.#slots.down(name, now);
    this.#state.backends.delete(name);
    this.#state.failures.delete(name);
    this.#refusals.stranded(now);
  }

  /** Also one that has not come up yet: it will be cordoned when it does. */
  #cordon(name: BackendName, now: number): void {
    const backend = this.#known(name);
    if (!backend.cordoned) this.#slots.cordon(backend, now);
  }

  #uncordon(name: BackendName, now: number): void {
    const backend = this.#state.backends.get(name);
    if (backend?.cordoned === true) this.#slots.uncordon(backend, now);
  }

  #known(name: BackendName): BackendState {
    const known = this.#state.backends.get(name);
    if (known !== undefined) return known;
    const fresh = emptyBackend(name);
    this.#state.backends.set(name, fresh);
    return fresh;
  }
}
