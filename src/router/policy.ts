// The three choices that a better policy would make otherwise, and nothing else: among holders, where to load, whom to drain.
// Pure: reads the state, changes nothing. Ties go by name, so that no choice depends on the order of a map.
import type { BackendName, RequestClass } from '../domain.ts';
import { preferred } from './affinity.ts';
import { expectedOf } from './announced.ts';
import type { AdapterTarget } from './events.ts';
import { mayEvict, mayTake } from './reservations.ts';
import { type BackendState, type Drain, type Held, isIdle, isReady, type RouterState } from './state.ts';

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
  /** Undefined: is there any slot to be had, for anybody who waits? */
  readonly claim: Claim | undefined;
  /** Since when a slot is owed, ms, where one is to be drained; undefined: for anybody. */
  readonly dueAt?: number | undefined;
  readonly now: number;
}

export interface Policy {
  /** Which of the backends that hold what is asked for; never called with none. `affinity`: see `arrived`. */
  route(holders: readonly BackendState[], affinity: number | undefined): BackendState;
  /** Which of the candidates loads an adapter now; undefined: none can. Victims are idle. Both this and `drain` ask reservations.ts: a slot is
   *  taken where `mayTake`, its holder evicted where `mayEvict`. */
  home(state: RouterState, search: Search): Home | undefined;
  /** Whose requests are to be the last on their slot, because another adapter has waited its bound; undefined: nobody's. Only who
   *  `mayDrain`. */
  drain(state: RouterState, search: Search): Home | undefined;
}

/**
 * Requests that the preferred holder may run more than the least busy one, before load decides (SGLang's cache-aware routing has such a gate, at 32).
 * Gates of 4 to 64 were not told apart by the benches.
 */
const AFFINITY_GATE = 16;
/** A newest checkpoint that nobody has used yet is spared so long, ms: its callers are about to come. */
const AWAITED_MS = 10_000;

const byName = (a: { name: BackendName }, b: { name: BackendName }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

const byLoad = (a: BackendState, b: BackendState): number => a.inFlight - b.inFlight || byName(a, b);

const byAge = (a: Home & { victim: Held }, b: Home & { victim: Held }): number =>
  a.victim.lastUsedAt - b.victim.lastUsedAt ||
  byName(a.backend, b.backend) ||
  (a.victim.adapter < b.victim.adapter ? -1 : 1);

/**
 * When an adapter has served what it serves at least before it is drained for another one, ms: with slow loads, slots would otherwise spend their time
 * loading. The one expression for it: an alarm that is computed in another way may ring a rounding too early, and is then lost.
 */
export const servedAt = ({ bounds }: RouterState, { loadMs }: BackendState, { readyAt }: Held): number =>
  readyAt + bounds.quantumLoads * loadMs;

/** Its requests may be the last on their slot, for one that is due at `dueAt`, ms (undefined: for anybody): it has served its quantum, and nobody
 *  who waits for it was due as early. */
export function mayDrain(
  state: RouterState,
  { backend, held }: Drain,
  { dueAt = Number.NEGATIVE_INFINITY, now }: { readonly dueAt?: number | undefined; readonly now: number },
): boolean {
  if (!isReady(held) || now < servedAt(state, backend, held)) return false;
  const own =
    state.lines.get(held.adapter)?.tickets.firstDue(state.bounds.dueAfterMs)?.dueAt ?? Number.POSITIVE_INFINITY;
  return own > dueAt || own > now;
}

/** What its slot is worth: how many would have had to wait for a load lately, had it not been there, or will have to that are announced. */
export const worthOf = (state: RouterState, { adapter }: Held, now: number): number =>
  state.demand.of(adapter, now) + expectedOf(state, adapter);

/** Loaded as the newest checkpoint, for callers that are there and that had none of its answers yet: evicted now, it would be loaded again at once. */
const isAwaited = (state: RouterState, { adapter, residency, lastUsedAt }: Held, now: number): boolean =>
  residency.state === 'ready' &&
  residency.why === 'publish' &&
  residency.since === lastUsedAt &&
  now - residency.since < AWAITED_MS &&
  state.demand.of(adapter, now) >= 1;

function least<T>(items: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  let best = items[0];
  for (const item of items) if (best !== undefined && compare(item, best) < 0) best = item;
  return best;
}

function victims(
  candidates: readonly BackendState[],
  may: (held: Held, backend: BackendState) => boolean,
): (Home & { victim: Held })[] {
  return candidates.flatMap((backend) =>
    [...backend.held.values()].filter((held) => may(held, backend)).map((victim) => ({ backend, victim })),
  );
}

/** The holder of the same affinity, or the least loaded; a free slot on the least loaded backend, else that of the idle adapter that is worth least; drain the one with the fewest requests. */
export const leastLoaded: Policy = {
  route(holders, affinity) {
    const calmest = least(holders, byLoad);
    if (calmest === undefined) throw new Error('route needs a holder');
    if (affinity === undefined || holders.length === 1) return calmest;
    const own = preferred(holders, affinity) ?? calmest;
    return own.inFlight - calmest.inFlight > AFFINITY_GATE ? calmest : own;
  },

  home(state, { candidates, claim, now }) {
    const roomy = least(
      candidates.filter((backend) => mayTake(state, backend, claim)),
      byLoad,
    );
    if (roomy !== undefined) return { backend: roomy, victim: undefined };
    const full = candidates.filter((backend) => backend.held.size <= backend.slots);
    return least(
      victims(
        full,
        (held, backend) =>
          isIdle(held) &&
          !state.lines.has(held.adapter) &&
          !isAwaited(state, held, now) &&
          mayEvict(state, backend, held, claim),
      ),
      (a, b) => worthOf(state, a.victim, now) - worthOf(state, b.victim, now) || byAge(a, b),
    );
  },

  drain(state, { candidates, claim, dueAt, now }) {
    return least(
      candidates.flatMap((backend) =>
        victims(
          [backend],
          (held) => mayDrain(state, { backend, held }, { dueAt, now }) && mayEvict(state, backend, held, claim),
        ),
      ),
      (a, b) => a.victim.leases - b.victim.leases || byAge(a, b),
    );
  },
};
