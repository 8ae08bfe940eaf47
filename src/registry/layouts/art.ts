// OpenPipe ART: `.art/<project>/models/<name>/checkpoints/<0005>/`, a PEFT adapter in each; step 0 is an identity LoRA.
// There is no marker. `history.jsonl` beside `checkpoints/` has one flat row per split and step ("train/loss", "val/reward").
import { basename, join } from 'node:path';
import { readTail } from '../inspect.ts';
import { detailsIn, metricsIn } from '../metadata.ts';
import { type Layout, numberIn } from './layout.ts';

/** ART pads to four digits. */
const STEP = /^([0-9]{4,})$/;
const STEPS_DIR = 'checkpoints';

export const art: Layout = {
  below: [STEPS_DIR, ''],
  async recognises({ dir, entries, list }) {
    const steps = entries.includes(STEPS_DIR) ? await list(STEPS_DIR) : entries;
    return steps.some((entry) => STEP.test(entry)) || (basename(dir) !== STEPS_DIR && isModel(entries));
  },
  stepOf: (entry) => numberIn(entry, STEP),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,
  marker: async () => ({ kind: 'none' }),
  details: async (stepDir, step) =>
    detailsIn([stepDir], metricsIn((await readTail(join(stepDir, '..', '..', 'history.jsonl'))) ?? '', step)),
};

/** A model's directory before its first step. */
const isModel = (entries: readonly string[]): boolean =>
  entries.includes(STEPS_DIR) && (entries.includes('history.jsonl') || entries.includes('trajectories'));
