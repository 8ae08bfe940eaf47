// 10^5 events in a world of chance, with every policy, its laws judged after each one. A failure names its seed (SEED=n npm test) and tells
// the shortest history found that breaks the same law, as a transcript.
import { describe, expect, test } from 'vitest';
import { seeds } from '../random.ts';
import { POLICIES } from './policies.ts';
import { OPTIONS } from './transcript.ts';
import { World } from './world.ts';
import type { WorldOptions } from './world-options.ts';

/** Of each world. Ten times as many take ten times as long. */
const EVENTS = 100_000;

const CALM: WorldOptions = {
  router: {
    ...OPTIONS,
    drainAfterMs: { interactive: 1000, rollout: 2000, eval: 4000 },
    waitMsMax: 20_000,
    queueMax: 10_000,
    queuePerCheckpointMax: 10_000,
    failureMemoryMs: 3000,
    replicateAbove: 4,
  },
  backends: 3,
  slots: 2,
  adapters: 20,
  events: EVENTS,
  faults: 0,
  sessions: 0.5,
  arrivalEveryMs: 20,
  serviceMs: 60,
  loadMs: 30,
};

describe.each(POLICIES)('with the $name policy', ({ make }) => {
  const world = (seed: number, options: Partial<WorldOptions> & { waitMsMax?: number }) => {
    const { waitMsMax = CALM.router.waitMsMax, ...rest } = options;
    return new World(seed, { ...CALM, ...rest, router: { ...CALM.router, waitMsMax, policy: make(seed) } }).run();
  };

  test.each(seeds(1))(
    'the laws hold in a calm world, and nobody is refused (seed %i)',
    { timeout: 120_000 },
    (seed) => {
      expect([...world(seed, {}).rejected.keys()], `seed ${seed}`).toEqual([]);
    },
  );

  test.each(seeds(1))(
    'the laws hold when engines die, forget, fail and lie and callers leave (seed %i)',
    { timeout: 120_000 },
    (seed) => {
      expect(world(seed, { faults: 0.15 }).loads, `seed ${seed}`).toBeGreaterThan(0);
    },
  );

  test.each(seeds(1))(
    'the laws hold under five times the load that the slots can bear (seed %i)',
    { timeout: 120_000 },
    (seed) => {
      const overload = { backends: 1, adapters: 50, arrivalEveryMs: 4, serviceMs: 100, waitMsMax: 5000 };
      world(seed, { ...overload, events: EVENTS / 5 });
    },
  );
});
