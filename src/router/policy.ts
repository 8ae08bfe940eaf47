// The three choices that a better policy would make otherwise, and nothing else: among holders, where to load, whom to drain.
// Pure: reads the state, changes nothing. Ties go by name, so that no choice depends on the order of a map.
import type { BackendName, RequestClass } from '../domain.ts';
import type { AdapterTarget } from './events.ts';
import type { BackendState, Held, RouterState } from './state.ts';
import { isIdle, isReady } from './state.ts';

/** A slot for an adapter: free now, or after `victim` has left it. */
export interface Home {
  readonly backend: BackendState;
  readonly victim: Held | undefined;
}

/** Who wants a slot, and what for. */
export interface Claim {
  readonly target: AdapterTarget;
  /** Of the most urgent that waits for it. */
  readonly class: RequestClass;
  readonly cause: 'request' | 'publish' | 'replica' | 'prefetch' | 'reserved';
}

export interface Search {
  /** Up, of the right base, not holding it. */
  readonly candidates: readonly BackendState[];
  /** Undefined: is there any slot to be had, for whomever? */
  readonly claim: Claim | undefined;
  readonly now: number;
}

export interface Policy {
  /** Which of the backends that hold what is asked for; never called with none. `affinity`: see `arrived`. */
  route(holders: readonly BackendState[], affinity: number | undefined): BackendState;
  /** Which of the candidates loads an adapter now; undefined: none can. Victims are idle. */
  home(state: RouterState, search: Search): Home | undefined;
  /** Whose requests are to be the last on their slot, because another adapter has waited its bound; undefined: nobody's. */
  drain(state: RouterState, search: Search): Home | undefined;
}

/** An adapter serves for so many times what its load took before it may be drained: with slow loads, slots would otherwise spend their time loading. */
const QUANTUM_LOADS = 4;

const byName = (a: { name: BackendName }, b: { name: BackendName }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

const byLoad = (a: BackendState, b: BackendState): number => a.inFlight - b.inFlight || byName(a, b);

const byAge = (a: Home & { victim: Held }, b: Home & { victim: Held }): number =>
  a.victim.lastUsedAt - b.victim.lastUsedAt ||
  byName(a.backend, b.backend) ||
  (a.victim.adapter < b.victim.adapter ? -1 : 1);

function least<T>(items: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  let best = items[0];
  for (const item of items) if (best !== undefined && compare(item, best) < 0) best = item;
  return best;
}

function victims(candidates: readonly BackendState[], may: (held: Held) => boolean): (Home & { victim: Held })[] {
  return candidates.flatMap((backend) => [...backend.held.values()].filter(may).map((victim) => ({ backend, victim })));
}

/** The least loaded holder; a free slot on the least loaded backend, else that of the idle adapter with the least demand; drain the one with the fewest requests. */
export const leastLoaded: Policy = {
  route(holders) {
    const [first] = holders;
    if (first === undefined) throw new Error('route needs a holder');
    return holders.length === 1 ? first : (least(holders, byLoad) ?? first);
  },

  home(state, { candidates, now }) {
    const roomy = least(
      candidates.filter((backend) => backend.held.size < backend.slots),
      byLoad,
    );
    if (roomy !== undefined) return { backend: roomy, victim: undefined };
    const full = candidates.filter((backend) => backend.held.size === backend.slots);
    return least(
      victims(full, (held) => isIdle(state, held) && !state.lines.has(held.adapter)),
      (a, b) => state.demand.of(a.victim.adapter, now) - state.demand.of(b.victim.adapter, now) || byAge(a, b),
    );
  },

  drain(state, { candidates, now }) {
    return least(
      candidates.flatMap((backend) =>
        victims(
          [backend],
          (held) =>
            isReady(held) &&
            !state.pinned.has(held.adapter) &&
            now - held.residency.since >= QUANTUM_LOADS * backend.loadMs,
        ),
      ),
      (a, b) => a.victim.leases - b.victim.leases || byAge(a, b),
    );
  },
};
