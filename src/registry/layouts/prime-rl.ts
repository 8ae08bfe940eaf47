// prime-rl: `<out>/broadcasts/step_<n>/` (or `<out>/run_default/broadcasts/`, of a trainer that serves several runs). The filesystem
// broadcast writes the weights, then adapter_config.json, and touches `STABLE` last; old steps are cleaned away.
import { basename, join } from 'node:path';
import { statOrNothing } from '../inspect.ts';
import { detailsIn } from '../metadata.ts';
import { insideNewest, type Layout, numberIn } from './layout.ts';

const STEP = /^step_([0-9]+)$/;
const MARKER_FILE = 'STABLE';
const STEPS_DIR = 'broadcasts';
const RUN_DIR = 'run_default';

export const primeRl: Layout = {
  below: [STEPS_DIR, join(RUN_DIR, STEPS_DIR), ''],
  async recognises(glance) {
    const { dir, entries, list } = glance;
    if (entries.includes(STEPS_DIR)) return true;
    if (entries.includes(RUN_DIR) && (await list(RUN_DIR)).includes(STEPS_DIR)) return true;
    if (!entries.some((entry) => STEP.test(entry))) return false;
    return basename(dir) === STEPS_DIR || (await insideNewest(glance, STEP)).has(MARKER_FILE);
  },
  stepOf: (entry) => numberIn(entry, STEP),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,
  async marker(stepDir) {
    const found = await statOrNothing(join(stepDir, MARKER_FILE));
    if (found) return { kind: 'finished', atNs: found.mtimeNs };
    return { kind: 'unfinished', about: `${MARKER_FILE} is not there (yet), which prime-rl writes last.` };
  },
  details: (stepDir) => detailsIn([stepDir], {}),
};
