// Whether one step's directory holds a complete checkpoint now: the trainer's marker first, else files that are whole and have settled.
// It looks once and remembers nothing; the time is an argument.
import { join, relative, sep } from 'node:path';
import { examineIn } from './examine.ts';
import { type Stamps, stampsOf } from './inspect.ts';
import type { Layout } from './layouts/layout.ts';

export interface Files extends Stamps {
  readonly dir: string;
  /** There is a full model's config where this layout's trainer, in the middle of a step, has not written the adapter yet. */
  readonly mayBecomeAdapter: boolean;
}

/** `about`: why a step is not complete, a sentence. `settles`: only time is missing, or another look. */
export interface Missing {
  readonly about: string;
  readonly settles: boolean;
}

/** The adapter's files, or a full model's where there is no adapter. */
export async function filesOf(layout: Layout, stepDir: string): Promise<Files> {
  const dir = layout.adapterDir(stepDir);
  const modelDir = layout.modelDir(stepDir);
  const adapter = { dir, ...(await stampsOf(dir)), mayBecomeAdapter: false };
  if (adapter.newestNs !== undefined || modelDir === dir) return adapter;
  const model = { dir: modelDir, ...(await stampsOf(modelDir)), mayBecomeAdapter: true };
  return model.newestNs === undefined ? adapter : model;
}

/** The directories in which something of the step's adapter appears. */
export function wayTo(stepDir: string, layout: Layout): readonly string[] {
  const names = relative(stepDir, layout.adapterDir(stepDir)).split(sep).filter(Boolean);
  return [stepDir, ...names.map((_, index) => join(stepDir, ...names.slice(0, index + 1)))];
}

/** undefined: complete, with exactly these files. `settled`: they have not moved for the settle time. */
export async function missingIn(
  step: { readonly layout: Layout; readonly stepDir: string },
  files: Files,
  settled: boolean,
): Promise<Missing | undefined> {
  const { layout, stepDir } = step;
  const marker = await layout.marker(stepDir);
  if (marker.kind === 'unfinished') return { about: marker.about, settles: false };
  // A marker older than the files is of the step's former revision, which is being written again.
  const finished = marker.kind === 'finished' && (files.newestNs === undefined || marker.atNs >= files.newestNs);
  if (!finished && files.mayBecomeAdapter)
    return { about: `${layout.adapterDir(stepDir)} is not there (yet).`, settles: false };
  if (!finished && !settled) return MOVED;
  const found = await examineIn(files.dir);
  if (found.kind === 'incomplete') return { about: found.missing, settles: false };
  return found.signature === files.signature ? undefined : MOVED;
}

const MOVED: Missing = { about: 'its files were written a moment ago.', settles: true };
