// The seam of discovery: how one kind of trainer lays out its checkpoints, and how it says that one is finished.
// A layout answers questions about directories; it neither watches, nor remembers, nor judges the adapter.
import type { Details } from '../../domain.ts';

export interface Layout {
  /** Where the steps' directories lie below the watched one: the first that exists counts; '' is the watched one itself. */
  readonly below: readonly string[];
  /** Whether a directory looks like this trainer's, by what is in it already. */
  recognises(glance: Glance): Promise<boolean>;
  /** The step that a directory entry's name stands for; undefined when it is not one of this trainer's checkpoints.
   *  The watched directory itself is asked about as '.'. */
  stepOf(entry: string): number | undefined;
  /** The directory of adapter_config.json, given the step's. */
  adapterDir(stepDir: string): string;
  /** The directory of a full model's config.json, given the step's. */
  modelDir(stepDir: string): string;
  /** Never rejects for files that are not there. */
  marker(stepDir: string): Promise<Marker>;
  /** What the trainer's files say of the step; never rejects for what is not there or makes no sense. */
  details(stepDir: string, step: number): Promise<Details>;
}

/** The trainer's own word about a step. */
export type Marker =
  /** `atNs`: the marker's mtime. Only files that are not newer than it are finished. */
  | { readonly kind: 'finished'; readonly atNs: bigint }
  | { readonly kind: 'unfinished'; readonly about: string }
  /** This trainer wrote none (yet): files count as finished once they have not moved for a settle time. */
  | { readonly kind: 'none' };

/** One look at a watched directory. */
export interface Glance {
  readonly dir: string;
  readonly entries: readonly string[];
  /** The names in a directory below, given its relative path; none where there is none. */
  list(path: string): Promise<readonly string[]>;
}

/** The number in a name, by a pattern whose first group is its digits. */
export function numberIn(name: string, pattern: RegExp): number | undefined {
  const step = Number(pattern.exec(name)?.[1] ?? Number.NaN);
  return Number.isSafeInteger(step) ? step : undefined;
}

/** What the newest few of the entries that a pattern matches hold: enough to tell whose they are. */
export async function insideNewest({ entries, list }: Glance, pattern: RegExp): Promise<ReadonlySet<string>> {
  const newest = entries
    .flatMap((entry) => ({ entry, step: numberIn(entry, pattern) ?? -1 }))
    .filter(({ step }) => step >= 0)
    .sort((a, b) => b.step - a.step)
    .slice(0, LOOKED_INTO);
  return new Set((await Promise.all(newest.map(({ entry }) => list(entry)))).flat());
}

const LOOKED_INTO = 4;
