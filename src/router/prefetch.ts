// Loads what a sweep comes to next while the step before it still runs: one ahead on each backend, and only where nobody is displaced for it.
// It never loads for a request that waits (lines.ts), and gives way to every line that wants a slot.
import type { AdapterId } from '../domain.ts';
import type { AdapterTarget } from './events.ts';
import { failureOf } from './failures.ts';
import type { Policy } from './policy.ts';
import type { Slots } from './slots.ts';
import {
  type BackendState,
  type Held,
  holdersOf,
  isLoadingAnywhere,
  isOpen,
  type RouterState,
  serves,
} from './state.ts';

/** What makes room for a guess must be worth less than one request of two minutes ago (demand.ts). */
const DEMAND_MAX = 0.5;

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
}

export class Prefetch {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #policy: Policy;

  constructor({ state, slots, policy }: Parts) {
    this.#state = state;
    this.#slots = slots;
    this.#policy = policy;
  }

  /** To be called when a slot may have come free and all lines were served. Looks at no more adapters than there are slots and failures. */
  ahead(now: number): void {
    const { announced, backends } = this.#state;
    if (announced.isEmpty || this.#isSlotWanted()) return;
    const open = [...backends.values()].filter((backend) => isOpen(backend) && !this.#hasOneAhead(backend));
    for (const expected of announced.sweeps) {
      for (const { target } of expected) {
        if (open.length === 0) return;
        if (this.#isTaken(target.adapter)) continue;
        const candidates = open.filter(
          (backend) =>
            serves(backend, target) && failureOf(this.#state, backend.name, target.adapter, now) === undefined,
        );
        if (candidates.length === 0) continue;
        const used = this.#load(target, candidates, now);
        if (used === undefined) break;
        open.splice(open.indexOf(used), 1);
      }
    }
  }

  /** A line whose adapter is neither there nor on its way. */
  #isSlotWanted(): boolean {
    for (const { adapter } of this.#state.lines.values())
      if (holdersOf(this.#state, adapter).size === 0 && !isLoadingAnywhere(this.#state, adapter)) return true;
    return false;
  }

  /** Held somewhere, in whatever state, or not to be loaded any more. */
  #isTaken(adapter: AdapterId): boolean {
    if (this.#state.retired.has(adapter)) return true;
    for (const { held } of this.#state.backends.values()) if (held.has(adapter)) return true;
    return false;
  }

  /** @returns the backend that has it ahead from now on; undefined: there is no room for guesses */
  #load(target: AdapterTarget, candidates: readonly BackendState[], now: number): BackendState | undefined {
    const claim = { target, class: 'eval', cause: 'prefetch' } as const;
    const home = this.#policy.home(this.#state, { candidates, claim, now });
    if (home === undefined) return undefined;
    const { backend, victim } = home;
    if (victim === undefined) this.#slots.load(backend, claim, now);
    else if (this.#mayMakeRoom(victim.adapter, now))
      this.#slots.drain(backend, victim, { why: 'prefetch', heir: undefined, now });
    else return undefined;
    return backend;
  }

  #hasOneAhead({ held }: BackendState): boolean {
    for (const one of held.values()) if (this.#isAhead(one)) return true;
    return false;
  }

  /** A slot is being emptied for one; or it is loading, or loaded, and nobody has asked for it yet (slots.ts, `lease`) though somebody will. */
  #isAhead({ adapter, residency }: Held): boolean {
    return residency.why === 'prefetch' && (residency.state === 'draining' || this.#state.announced.of(adapter) > 0);
  }

  #mayMakeRoom(adapter: AdapterId, now: number): boolean {
    const { announced, demand } = this.#state;
    return announced.of(adapter) === 0 && demand.of(adapter, now) < DEMAND_MAX;
  }
}
