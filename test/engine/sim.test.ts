// The simulated engine keeps the promises that stepgate relies on.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { engineConformance } from './conformance.ts';

engineConformance('the simulated vLLM', async () => {
  const scratch = await mkdtemp(join(tmpdir(), 'stepgate-sim-'));
  const adapters = await Promise.all([10, 20, 30].map((step) => writeCheckpoint({ dir: scratch, step })));
  // Slow enough that 900 tokens outlast a test's questions.
  const sim = await startSim({ maxLoras: 2, maxCpuLoras: 4, loadMs: 5, firstTokenMs: 5, tokenMs: 3 });
  const close = async () => {
    await sim.close();
    await rm(scratch, { recursive: true });
  };
  return { url: sim.url, base: 'base', slots: 2, adapters, scratch, fresh: true, close };
});
