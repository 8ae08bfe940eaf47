// What verl and SkyRL share: `global_step_<n>/<role>/lora_adapter/`, and a tracker file beside the steps that is written after
// all of a step's files. Its time says which files are finished; the step it names says less: a resumed run counts backwards.
import { join } from 'node:path';
import { statOrNothing } from '../inspect.ts';
import { detailsIn } from '../metadata.ts';
import { insideNewest, type Layout, numberIn } from './layout.ts';

const STEP = /^global_step_([0-9]+)$/;

export interface Tree {
  /** The directory of the trained model in a step's. */
  readonly role: string;
  readonly tracker: string;
}

export function treeLayout({ role, tracker }: Tree): Layout {
  const adapterDir = (stepDir: string) => join(stepDir, role, 'lora_adapter');
  const modelDir = (stepDir: string) => join(stepDir, role, 'huggingface');
  return {
    below: [''],
    async recognises(glance) {
      if (!glance.entries.some((entry) => STEP.test(entry))) return false;
      return glance.entries.includes(tracker) || (await insideNewest(glance, STEP)).has(role);
    },
    stepOf: (entry) => numberIn(entry, STEP),
    adapterDir,
    modelDir,
    async marker(stepDir) {
      const found = await statOrNothing(join(stepDir, '..', tracker));
      return found ? { kind: 'finished', atNs: found.mtimeNs } : { kind: 'none' };
    },
    details: (stepDir) => detailsIn([adapterDir(stepDir), modelDir(stepDir)], {}),
  };
}
