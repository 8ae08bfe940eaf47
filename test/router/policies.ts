// The policies that the laws are judged with: the one that serves, one that chooses anything that the seam allows, and one that chooses the
// worst. The laws must hold with each: they rest on the router, not on a policy's good sense.
import type { Home, Policy, Search } from '../../src/router/policy.ts';
import { leastLoaded } from '../../src/router/policy.ts';
import { mayEvict, mayTake } from '../../src/router/reservations.ts';
import { type BackendState, type Held, isIdle, isReady, type RouterState } from '../../src/router/state.ts';

/** Every home that the seam allows: a free slot, else an idle adapter that nobody waits for. */
function homes(state: RouterState, { candidates, claim }: Search): Home[] {
  const roomy = candidates.filter((backend) => mayTake(state, backend, claim));
  if (roomy.length > 0) return roomy.map((backend) => ({ backend, victim: undefined }));
  const full = candidates.filter((backend) => backend.held.size <= backend.slots);
  return full.flatMap((backend) =>
    [...backend.held.values()]
      .filter((held) => isIdle(held) && !state.lines.has(held.adapter) && mayEvict(state, backend, held, claim))
      .map((victim) => ({ backend, victim })),
  );
}

/** Whoever is ready may be drained. */
const drains = (state: RouterState, { candidates, claim }: Search): Home[] =>
  candidates.flatMap((backend) =>
    [...backend.held.values()]
      .filter((held) => isReady(held) && mayEvict(state, backend, held, claim))
      .map((victim) => ({ backend, victim })),
  );

type Weigh = (backend: BackendState, victim: Held | undefined, now: number) => number;

const nameOf = ({ backend, victim }: Home): string => `${backend.name} ${victim?.adapter ?? ''}`;

/** The one that weighs most; of equals the first by name. */
function heaviest(choices: readonly Home[], weigh: (home: Home) => number): Home | undefined {
  let best: { home: Home; weight: number } | undefined;
  for (const home of choices) {
    const weight = weigh(home);
    const isBetter = best === undefined || weight > best.weight;
    if (isBetter || (weight === best?.weight && nameOf(home) < nameOf(best.home))) best = { home, weight };
  }
  return best?.home;
}

function choosing(weigh: Weigh): Policy {
  return {
    route(holders) {
      const homes = holders.map((backend) => ({ backend, victim: undefined }));
      const chosen = heaviest(homes, ({ backend }) => weigh(backend, undefined, 0));
      if (chosen === undefined) throw new Error('route was called with no holder');
      return chosen.backend;
    },
    home: (state, search) =>
      heaviest(homes(state, search), ({ backend, victim }) => weigh(backend, victim, search.now)),
    drain: (state, search) =>
      heaviest(drains(state, search), ({ backend, victim }) => weigh(backend, victim, search.now)),
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}

/** Any choice: as good as chance, but a function of what it is asked, so that a history replays. */
const arbitrary = (seed: number): Policy =>
  choosing((backend, victim, now) => hash(`${seed} ${backend.name} ${backend.inFlight} ${victim?.adapter} ${now}`));

/** The busiest holder, the busiest home, the victim that most run on and that was used last. */
const perverse: Policy = choosing((backend, victim) =>
  victim === undefined ? backend.inFlight : victim.leases * 1e9 + victim.lastUsedAt,
);

export const POLICIES: readonly { readonly name: string; readonly make: (seed: number) => Policy }[] = [
  { name: 'default', make: () => leastLoaded },
  { name: 'arbitrary', make: arbitrary },
  { name: 'perverse', make: () => perverse },
];
