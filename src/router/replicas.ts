// When one backend is too few for an adapter: one more loads it, though nobody waits for that.
// Decided by a gate on load. Ski rental was tried in its place and lost where slots are short: docs/scheduling.md has the figures.
import type { RequestClass } from '../domain.ts';
import type { AdapterTarget } from './events.ts';
import { failureOf } from './failures.ts';
import type { Policy } from './policy.ts';
import type { Slots } from './slots.ts';
import { type BackendState, isLoadingAnywhere, isReady, type RouterState, serves } from './state.ts';

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly options: {
    /** Requests that the least busy holder runs more than another backend. */
    readonly replicateAbove: number;
  };
}

export class Replicas {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #policy: Policy;
  readonly #options: Parts['options'];

  constructor({ state, slots, policy, options }: Parts) {
    this.#state = state;
    this.#slots = slots;
    this.#policy = policy;
    this.#options = options;
  }

  /**
   * One more backend loads the adapter that a request of this class was for, when even the least busy of its holders is far busier than another
   * one that has a slot that nobody uses (the balance gate of SGLang's cache-aware routing). Nobody waits for it.
   */
  follow(target: AdapterTarget, kind: RequestClass, now: number): void {
    const { adapter } = target;
    const gate = this.#leastBusy(adapter) - this.#options.replicateAbove;
    if (gate <= 0 || isLoadingAnywhere(this.#state, adapter)) return;
    const calm: BackendState[] = [];
    for (const backend of this.#state.backends.values()) {
      const could = backend.inFlight < gate && !backend.held.has(adapter) && serves(backend, target);
      if (could && failureOf(this.#state, backend.name, adapter, now) === undefined) calm.push(backend);
    }
    if (calm.length === 0) return;
    const claim = { target, class: kind, cause: 'replica' } as const;
    const home = this.#policy.home(this.#state, { candidates: calm, claim, now });
    if (home?.victim !== undefined)
      this.#slots.drain(home.backend, home.victim, { why: 'replica', heir: undefined, now });
    else if (home !== undefined) this.#slots.load(home.backend, claim, now);
  }

  /** Requests that run on it: affinity may have chosen another holder. */
  #leastBusy(adapter: AdapterTarget['adapter']): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { held, inFlight } of this.#state.backends.values())
      if (inFlight < least && isReady(held.get(adapter))) least = inFlight;
    return Number.isFinite(least) ? least : 0;
  }
}
