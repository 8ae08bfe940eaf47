// torchtune: `<output_dir>/epoch_<n>/` or `step_<n>/`. save_checkpoint writes the model's shards (unless adapter_only), a pickle of the
// adapter, adapter_model.safetensors, adapter_config.json, and copies the base's files last. There is no marker that is always there.
import { detailsIn } from '../metadata.ts';
import { insideNewest, type Layout, numberIn } from './layout.ts';

const STEP = /^(?:epoch|step)_([0-9]+)$/;
const EPOCH = /^epoch_[0-9]+$/;

export const torchtune: Layout = {
  below: [''],
  async recognises(glance) {
    const { entries } = glance;
    if (entries.some((entry) => EPOCH.test(entry))) return true;
    if (!entries.some((entry) => STEP.test(entry))) return false;
    // prime-rl's steps have the same name.
    return entries.includes('recipe_state') || (await insideNewest(glance, STEP)).has('adapter_model.pt');
  },
  stepOf: (entry) => numberIn(entry, STEP),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,
  marker: async () => ({ kind: 'none' }),
  details: (stepDir) => detailsIn([stepDir], {}),
};
