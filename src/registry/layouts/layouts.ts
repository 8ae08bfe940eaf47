// The table of layouts: a new one is one file beside hf.ts and one row here. And `auto`, which tells them apart.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayoutName } from '../../domain.ts';
import { orNothing } from '../inspect.ts';
import { adapter } from './adapter.ts';
import { art } from './art.ts';
import { hf } from './hf.ts';
import type { Layout } from './layout.ts';
import { openrlhf } from './openrlhf.ts';
import { primeRl } from './prime-rl.ts';
import { skyrl } from './skyrl.ts';
import { torchtune } from './torchtune.ts';
import { verl } from './verl.ts';

const KNOWN = { hf, art, 'prime-rl': primeRl, verl, skyrl, openrlhf, torchtune, adapter } as const satisfies Record<
  Exclude<LayoutName, 'auto'>,
  Layout
>;

/** What `watchDirectory` takes, by the names of the config. */
export const LAYOUTS: Readonly<Record<LayoutName, Layout | 'auto'>> = { auto: 'auto', ...KNOWN };

export type Recognised =
  | { readonly kind: 'known'; readonly name: LayoutName; readonly layout: Layout }
  /** Nothing here that any trainer writes (yet). */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'mixed'; readonly names: readonly LayoutName[] };

/** Which trainer writes here, by what is there already. Rejects only with a file system's error. */
export async function recognise(dir: string, entries: readonly string[]): Promise<Recognised> {
  const list = async (path: string) => (await orNothing(readdir(join(dir, path)).catch(nothingWhenForbidden))) ?? [];
  const glance = { dir, entries, list };
  const rows = Object.entries(KNOWN) as [LayoutName, Layout][];
  const said = await Promise.all(rows.map(([, layout]) => layout.recognises(glance)));
  const found = rows.filter((_, index) => said[index]);
  // Trainers leave the final adapter beside their steps: it says nothing about those.
  const stepped = found.filter(([, layout]) => layout !== adapter);
  const [first, ...more] = stepped.length > 0 ? stepped : found;
  if (!first) return { kind: 'unknown' };
  if (more.length > 0) return { kind: 'mixed', names: stepped.map(([name]) => name) };
  return { kind: 'known', name: first[0], layout: first[1] };
}

/** A directory beside the steps that is not ours to read tells nothing. */
function nothingWhenForbidden(error: NodeJS.ErrnoException): readonly string[] {
  if (error.code === 'EACCES' || error.code === 'EPERM') return [];
  throw error;
}
