// What the trainer's files say about a step besides its weights: metrics, the model's class, the library that wrote it.
// For people, for `best` and for retention: nothing here decides whether a checkpoint is served, and nothing that is odd is an error.
import { join } from 'node:path';
import type { Details } from '../domain.ts';
import { BAD_JSON, CONFIG_FILE, readJson, readTail } from './inspect.ts';

/** A model card ends with the versions of the libraries; it is short. */
const README_BYTES = 64 * 1024;

/** Reads the configs in `dirs`; the first that says something counts. */
export async function detailsIn(dirs: readonly string[], metrics: Details['metrics']): Promise<Details> {
  const read = (name: string) => Promise.all(dirs.map((dir) => readObject(join(dir, name))));
  const [adapters, models] = await Promise.all([read(CONFIG_FILE), read('config.json')]);
  const peft = firstText(adapters.map((config) => config.peft_version));
  const transformers = firstText(models.map((config) => config.transformers_version));
  const library = peft ? `peft ${peft}` : await libraryInReadme(dirs);
  return {
    metrics,
    architecture: firstText([
      ...models.map((config) => (Array.isArray(config.architectures) ? config.architectures[0] : undefined)),
      ...adapters.map((config) => asObject(config.auto_mapping).base_model_class),
    ]),
    library: library ?? (transformers ? `transformers ${transformers}` : undefined),
  };
}

/** The rows of a log in a text, whatever surrounds them: JSON lines, trainer_state.json, or the end of either. For each key the row
 *  with the greatest `step` <= `step` that has it counts, among equals the last; a number that was not finite there leaves none. */
export function metricsIn(text: string, step: number): Details['metrics'] {
  const at = new Map<string, number>();
  const metrics: Record<string, number> = {};
  for (const [found] of text.matchAll(/\{[^{}]*\}/g)) {
    const row = parseRow(found);
    const rowStep = row?.step;
    if (row === undefined || typeof rowStep !== 'number' || rowStep > step) continue;
    for (const [key, value] of Object.entries(row)) {
      if (NO_METRICS.has(key) || rowStep < (at.get(key) ?? Number.NEGATIVE_INFINITY)) continue;
      if (typeof value === 'number' && Number.isFinite(value)) metrics[key] = value;
      else if (value === null) delete metrics[key];
      else continue;
      at.set(key, rowStep);
    }
  }
  return metrics;
}

/** They say which row it is, not how good the step is. `__proto__` is no name. */
const NO_METRICS = new Set(['step', 'training_step', '__proto__']);

/** Python writes NaN and Infinity, which are not JSON: they read as null. Throws SyntaxError as JSON.parse does. */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // By tokens, not by whole strings: a pattern for those takes the square of the length where one does not end, and overflows on a long one.
    let isInString = false;
    return JSON.parse(
      text.replace(/\\.|"|-?\b(?:NaN|Infinity)\b/gs, (found) => {
        if (found === '"') isInString = !isInString;
        return found === '"' || found.startsWith('\\') || isInString ? found : 'null';
      }),
    );
  }
}

function parseRow(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(parsePythonJson(text));
  } catch {
    return undefined;
  }
}

/** PEFT told its version in the model card long before it did in its config. */
async function libraryInReadme(dirs: readonly string[]): Promise<string | undefined> {
  for (const dir of dirs) {
    const card = await readTail(join(dir, 'README.md'), README_BYTES);
    const version = /^- PEFT (\d[\w.+-]*)\s*$/m.exec(card ?? '')?.[1];
    if (version !== undefined) return `peft ${version}`;
  }
  return undefined;
}

async function readObject(path: string): Promise<Readonly<Record<string, unknown>>> {
  const json = await readJson(path, { parse: parsePythonJson }).catch(() => undefined);
  return json === BAD_JSON ? {} : asObject(json);
}

function firstText(values: readonly unknown[]): string | undefined {
  const found = values.find((value) => typeof value === 'string' && value !== '');
  return found === undefined ? undefined : String(found).slice(0, TEXT_CHARS_MAX);
}

/** It is shown in a table. */
const TEXT_CHARS_MAX = 200;

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}
