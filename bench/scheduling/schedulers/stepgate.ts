// The object that serves: the gateway's own router, with the gateway's default scheduling. Queue and wait limits are lifted, so that what is
// measured is scheduling, not refusal.
import { Router } from '../../../src/router/router.ts';
import type { Contender } from '../types.ts';

export const stepgate: Contender = {
  name: 'stepgate',
  source: 'src/router/router.ts',
  residency: 'api',
  create: () =>
    new Router({
      drainAfterMs: { interactive: 2000, rollout: 10_000, eval: 40_000 },
      waitMsMax: 3_600_000,
      queueMax: 10_000_000,
      queuePerCheckpointMax: 10_000_000,
      failureMemoryMs: 30_000,
      quantumLoads: 4,
      batchLoads: 32,
      batchMsMax: 60_000,
      replicateAbove: 64,
      latestWithinMs: 10_000,
      ejectAfter: 5,
      ejectedMs: 30_000,
      quarantineMs: 600_000,
    }),
};
