// HF Trainer, TRL, Axolotl, LLaMA-Factory: `checkpoint-<N>/` holds the adapter, and `trainer_state.json` is written last
// (Trainer._save_checkpoint: model, optimizer, scheduler, rng, then the state; rotation only after it).
import { join } from 'node:path';
import { BAD_JSON, readJson, readTail, statOrNothing } from '../inspect.ts';
import { detailsIn, metricsIn, parsePythonJson } from '../metadata.ts';
import { type Layout, numberIn } from './layout.ts';

const STEP = /^checkpoint-([0-9]+)$/;
const MARKER_FILE = 'trainer_state.json';
/** Larger ones are judged by their end: the state of a long run has megabytes, and each step has its own. */
const PARSED_BYTES_MAX = 64 * 1024;

export const hf: Layout = {
  below: [''],
  recognises: async ({ entries }) => entries.some((entry) => STEP.test(entry)),
  stepOf: (entry) => numberIn(entry, STEP),
  adapterDir: (stepDir) => stepDir,
  modelDir: (stepDir) => stepDir,

  async marker(stepDir) {
    const path = join(stepDir, MARKER_FILE);
    const found = await statOrNothing(path);
    if (!found) return { kind: 'none' };
    const whole = found.size > PARSED_BYTES_MAX ? await endsAsWritten(path) : await parses(path);
    if (whole === undefined) return { kind: 'none' };
    if (!whole) return { kind: 'unfinished', about: `${path} is not JSON, or only half-written.` };
    return { kind: 'finished', atNs: found.mtimeNs };
  },

  details: async (stepDir, step) =>
    detailsIn([stepDir], metricsIn((await readTail(join(stepDir, MARKER_FILE))) ?? '', step)),
};

async function parses(path: string): Promise<boolean | undefined> {
  const state = await readJson(path, { parse: parsePythonJson });
  return state === undefined ? undefined : state !== BAD_JSON;
}

/** The trainer indents its JSON: a brace in the first column closes the outermost object and nothing else. */
async function endsAsWritten(path: string): Promise<boolean | undefined> {
  const tail = await readTail(path, 16);
  if (tail === undefined) return undefined;
  return /\n\}\s*$/.test(tail) || parses(path);
}
