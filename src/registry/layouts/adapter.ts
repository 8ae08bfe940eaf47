// A plain adapter: the watched directory itself holds adapter_config.json. It is step 0, and a new revision whenever it is written again.
import { join } from 'node:path';
import { ADAPTER_FILES, readTail } from '../inspect.ts';
import { detailsIn, metricsIn } from '../metadata.ts';
import type { Layout } from './layout.ts';

export const adapter: Layout = {
  below: [''],
  recognises: async ({ entries }) => ADAPTER_FILES.some((name) => entries.includes(name)),
  stepOf: (entry) => (entry === '.' ? 0 : undefined),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,
  marker: async () => ({ kind: 'none' }),
  // A trainer that leaves its state here has finished: its last rows are the adapter's.
  details: async (stepDir) =>
    detailsIn([stepDir], metricsIn((await readTail(join(stepDir, 'trainer_state.json'))) ?? '', Number.MAX_VALUE)),
};
