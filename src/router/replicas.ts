// When one backend is too few for an adapter: one more loads it, though nobody waits for that.

import type { AdapterTarget } from './events.ts';
import type { Policy } from './policy.ts';
import type { Slots } from './slots.ts';
import { type BackendState, failureOf, isLoadingAnywhere, type RouterState, serves } from './state.ts';

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
   * One more backend loads what `holder`, the least busy of those that hold it, serves, when another one is far less busy and has a slot
   * that nobody uses (the balance gate of SGLang's cache-aware routing). Nobody waits for it: the request that showed the need runs where it is.
   */
  follow(target: AdapterTarget, holder: BackendState, now: number): void {
    const { adapter } = target;
    const gate = holder.inFlight - this.#options.replicateAbove;
    if (gate <= 0 || isLoadingAnywhere(this.#state, adapter)) return;
    const calm: BackendState[] = [];
    for (const backend of this.#state.backends.values()) {
      const could = backend.inFlight < gate && !backend.held.has(adapter) && serves(backend, target);
      if (could && failureOf(this.#state, backend.name, adapter, now) === undefined) calm.push(backend);
    }
    if (calm.length === 0) return;
    const claim = { target, class: 'rollout', cause: 'replica' } as const;
    const home = this.#policy.home(this.#state, { candidates: calm, claim, now });
    if (home?.victim !== undefined)
      this.#slots.drain(home.backend, home.victim, { why: 'replica', heir: undefined, now });
    else if (home !== undefined) this.#slots.load(home.backend, adapter, { cause: 'replica', now });
  }
}
