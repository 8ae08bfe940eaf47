// A whole gateway that may fetch from a stand-in, and an adapter to put there.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type CheckpointOptions, writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, type SetUp, setUp } from '../gateway/harness.ts';

export async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'stepgate-sources-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Names -> bytes of an adapter as a trainer leaves it, with things beside it that nobody should fetch. */
export async function adapterFiles(more: Partial<CheckpointOptions> = {}): Promise<Record<string, Buffer>> {
  const dir = await writeCheckpoint({ dir: await scratch(), step: 5, ...more });
  const names = await readdir(dir);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))])));
}

export const inFolder = (folder: string, files: Record<string, Buffer>): Record<string, Buffer> =>
  Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${folder}/${name}`, bytes]));

/** A file that holds a key. */
export async function keyFile(key: string): Promise<string> {
  const path = join(await scratch(), 'key');
  await writeFile(path, `${key}\n`);
  return path;
}

export const houseWith = (
  sources: Record<string, unknown>,
  more: Record<string, unknown> = {},
  options: SetUp = {},
): Promise<House> => setUp({ latest: 'published', config: { sources, ...more }, ...options });

export interface Answered {
  readonly status: number;
  readonly name?: string;
  readonly source?: string;
  readonly code?: string;
  readonly message?: string;
}

/** Registers `my-model@5` from there, by the admin API. */
export async function registerFrom(house: House, source: string, name = 'my-model@5'): Promise<Answered> {
  const { status, body } = await house.admin('POST', '/checkpoints', { name, source });
  const { error, ...checkpoint } = body as {
    error?: { code: string; message: string };
    name?: string;
    source?: string;
  };
  return { status, ...(error ?? { name: checkpoint.name ?? '', source: checkpoint.source ?? '' }) };
}

/** What lies in the directory for fetched files. */
export const staged = (house: House): Promise<string[]> => readdir(join(house.home, 'data', 'fetched')).catch(() => []);

/** How much of a file has come, of the one fetch that is under way. */
export async function stagedBytes(house: House, name: string): Promise<number> {
  const [dir = ''] = await staged(house);
  return (await stat(join(house.home, 'data', 'fetched', dir, name)).catch(() => ({ size: 0 }))).size;
}
