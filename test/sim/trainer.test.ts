// The pretended trainer writes what real ones write, in their order; engines load it.
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readAdapter } from '../../src/sim/adapter-files.ts';
import { type Flaw, writeCheckpoint } from '../../src/sim/trainer.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'stepgate-trainer-'));
});
afterEach(() => rm(dir, { recursive: true }));

test('a checkpoint is in the HF layout, trainer_state.json last, and loads', async () => {
  const path = await writeCheckpoint({ dir, step: 30, rank: 4, base: 'org/base', loss: 1.5, pauseMs: 5 });
  expect(path).toBe(join(dir, 'checkpoint-30'));
  const times = await Promise.all(
    (await readdir(path)).map(async (name) => ({ name, at: (await stat(join(path, name))).mtimeMs })),
  );
  const order = times.sort((a, b) => a.at - b.at).map(({ name }) => name);
  expect(order.slice(0, 2)).toEqual(['adapter_model.safetensors', 'adapter_config.json']);
  expect(order.at(-1)).toBe('trainer_state.json');
  const state = JSON.parse(await readFile(join(path, 'trainer_state.json'), 'utf8'));
  expect(state.log_history.map(({ step }: { step: number }) => step)).toEqual([10, 10, 20, 20, 30, 30]);
  expect(state.log_history.at(-2)).toMatchObject({ step: 30, loss: 1.5 });
  expect(await readAdapter('x', path, 16)).toMatchObject({ rank: 4 });
});

test('weights follow from the step and the seed', async () => {
  const digest = async (step: number, seed: number) =>
    (await readAdapter('x', await writeCheckpoint({ dir, step, seed }), 16)).digest;
  const digests = [await digest(1, 0), await digest(2, 0), await digest(1, 1)];
  expect(new Set(digests).size).toBe(3);
  expect(await digest(1, 0)).toBe(digests[0]);
});

test.each<{ flaw: Flaw; says: RegExp | undefined }>([
  { flaw: 'half', says: /No adapter found/ },
  { flaw: 'unfinished', says: undefined },
  { flaw: 'truncated', says: /incomplete metadata/ },
  { flaw: 'noTensors', says: /doesn't contain tensors/ },
  { flaw: 'noConfig', says: /No adapter found/ },
  { flaw: 'badConfig', says: /Expecting value/ },
  { flaw: 'dora', says: /DoRA/ },
  { flaw: 'bias', says: /bias/ },
  { flaw: 'modulesToSave', says: /modules_to_save/ },
  { flaw: 'pickle', says: /doesn't contain tensors/ },
])('a flaw that was asked for is what an engine finds: $flaw', async ({ flaw, says }) => {
  const reading = readAdapter('x', await writeCheckpoint({ dir, step: 1, flaw }), 16);
  if (says) await expect(reading).rejects.toThrow(says);
  else await expect(reading).resolves.toMatchObject({ rank: 8 });
});
