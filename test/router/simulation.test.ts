// Thousands of random events against the router, its laws checked after each one. A failure names its seed: SEED=n npm test.
import { expect, test } from 'vitest';
import { seeds } from '../random.ts';
import { World, type WorldOptions } from './world.ts';

const CALM: WorldOptions = {
  drainAfterMs: { interactive: 1000, rollout: 2000, eval: 4000 },
  waitMsMax: 20_000,
  queueMax: 10_000,
  failureMemoryMs: 3000,
  quantumLoads: 4,
  batchLoads: 0,
  batchMsMax: 60_000,
  replicateAbove: 4,
  latestWithinMs: 2000,
  backends: 3,
  slots: 2,
  adapters: 20,
  events: 3000,
  faults: 0,
  arrivalEveryMs: 20,
  serviceMs: 60,
  loadMs: 30,
};

test.each(seeds(5))('the laws hold in a calm world, and nobody is refused (seed %i)', (seed) => {
  const outcome = new World(seed, CALM).run();
  expect([...outcome.rejected.keys()], `seed ${seed}`).toEqual([]);
});

test.each(seeds(20))('the laws hold when engines die, forget, fail and restart and callers leave (seed %i)', (seed) => {
  const outcome = new World(seed, { ...CALM, faults: 0.15 }).run();
  expect(outcome.loads, `seed ${seed}`).toBeGreaterThan(0);
});

test.each(seeds(5))(
  'under five times the load that the slots can bear, nobody waits past the bound (seed %i)',
  (seed) => {
    const outcome = new World(seed, {
      ...CALM,
      backends: 1,
      adapters: 50,
      arrivalEveryMs: 4,
      serviceMs: 100,
      events: 4000,
      waitMsMax: 5000,
    }).run();
    expect(outcome.waitMsMax, `seed ${seed}`).toBeLessThanOrEqual(5000);
  },
);

test.each(seeds(2))('the same seed gives the same transcript (seed %i)', (seed) => {
  const options = { ...CALM, faults: 0.15, events: 500 };
  expect(new World(seed, options).run().transcript).toEqual(new World(seed, options).run().transcript);
});
