// Promise: what others write never surprises: a slice of each target in CI. By the million: `npm run fuzz -- --runs 1000000 --only bodies`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { seeds } from '../random.ts';
import { ask } from './target.ts';
import { TARGETS } from './targets.ts';

test.each(TARGETS)('$name: $promise', async (target) => {
  const scratch = mkdtempSync(join(tmpdir(), 'stepgate-fuzz-'));
  onTestFinished(() => rmSync(scratch, { recursive: true, force: true }));
  for (const seed of seeds(1)) {
    const wrong = await ask(target, { scratch, seed, runs: target.slice }).then(() => undefined, String);
    expect(wrong, `npm run fuzz -- --only ${target.name} --seed ${seed} --runs ${target.slice}`).toBeUndefined();
  }
});
