// OpenRLHF: `<ckpt_path>/global_step<N>_hf/` holds what engines read; `global_step<N>/`, without the suffix, is DeepSpeed's own
// state in most versions and the adapter in some. save_model writes the adapter (with ZeRO 3 then a pickle instead, and removes the
// safetensors), and the base's `config.json` after it: so that file is the marker, though no version calls it one.
import { join } from 'node:path';
import { BAD_JSON, readJson, statOrNothing } from '../inspect.ts';
import { detailsIn } from '../metadata.ts';
import { type Layout, numberIn } from './layout.ts';

const STEP = /^global_step([0-9]+)(?:_hf)?$/;
const MARKER_FILE = 'config.json';

export const openrlhf: Layout = {
  below: [''],
  recognises: async ({ entries }) => entries.some((entry) => STEP.test(entry)),
  stepOf: (entry) => numberIn(entry, STEP),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,
  async marker(stepDir) {
    const path = join(stepDir, MARKER_FILE);
    const [found, config] = await Promise.all([statOrNothing(path), readJson(path)]);
    if (config === BAD_JSON) return { kind: 'unfinished', about: `${path} is not JSON, or only half-written.` };
    return found && config !== undefined ? { kind: 'finished', atNs: found.mtimeNs } : { kind: 'none' };
  },
  details: (stepDir) => detailsIn([stepDir], {}),
};
