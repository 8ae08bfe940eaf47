// HF Trainer, TRL, Axolotl, LLaMA-Factory: `checkpoint-<N>/` holds the adapter, and `trainer_state.json` is written last.
import { join } from 'node:path';
import { BAD_JSON, readJson, statOrNothing } from '../inspect.ts';
import type { Layout } from './layout.ts';

const MARKER_FILE = 'trainer_state.json';

export const hf: Layout = {
  stepOf(entry) {
    const digits = /^checkpoint-([0-9]+)$/.exec(entry)?.[1];
    const step = Number(digits ?? Number.NaN);
    return Number.isSafeInteger(step) ? step : undefined;
  },

  adapterDir: (stepDir) => stepDir,

  async marker(stepDir) {
    const path = join(stepDir, MARKER_FILE);
    const found = await statOrNothing(path);
    if (!found) return { kind: 'none' };
    const state = await readJson(path, parsePythonJson);
    if (state === undefined) return { kind: 'none' };
    if (state === BAD_JSON) return { kind: 'unfinished', about: `${path} is not JSON, or only half-written.` };
    return { kind: 'finished', atNs: found.mtimeNs };
  },
};

/** Python writes NaN and Infinity, which are not JSON: they read as null. Throws SyntaxError as JSON.parse does. */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(
      text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (found) => (found.startsWith('"') ? found : 'null')),
    );
  }
}
