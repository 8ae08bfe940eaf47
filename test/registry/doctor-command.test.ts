// `stepgate doctor` as a person runs it: exit codes, what it says at 80 columns, and JSON for scripts.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../cli/run.ts';
import { openRegistry, scratch, writeCheckpoint } from './fixtures.ts';

async function dataDirectory() {
  const home = scratch();
  const dataDir = join(home, 'data');
  const { registry } = await openRegistry(dataDir);
  const { adapter } = await registry.register({ name: 'm@1', path: writeCheckpoint(scratch()) });
  await registry.close();
  return { home, dataDir, path: adapter?.path ?? expect.fail('no adapter') };
}

test('0 when clean, 1 with what is wrong and how to mend it, 0 once it is repaired', async () => {
  const { dataDir, path } = await dataDirectory();
  const doctor = (...args: string[]) => run(['doctor', '--data', dataDir, ...args]);
  expect(await doctor()).toMatchObject({
    code: 0,
    out: expect.stringMatching(/1 checkpoint, .*\n(.*\n)*clean\n$/),
    err: '',
  });
  rmSync(path, { recursive: true });
  mkdirSync(join(dataDir, 'adapters', '0'.repeat(64)));
  const sick = await doctor();
  expect(sick).toMatchObject({ code: 1, err: '2 problems: --repair mends them\n' });
  for (const line of sick.out.split('\n').slice(1)) expect(line.length, line).toBeLessThanOrEqual(80);
  expect(sick.out).toMatch(/^m@1\n {2}lost: /m);
  expect(await doctor('--repair')).toMatchObject({ code: 0, out: expect.stringContaining('clean now') });
  expect((await doctor()).code).toBe(0);
});

test('finds the directory by the config, and prints JSON', async () => {
  const { home, dataDir } = await dataDirectory();
  const config = join(home, 'stepgate.yaml');
  writeFileSync(config, 'data: ./data\n');
  const { code, out } = await run(['doctor', '--config', config, '--json', '--deep']);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ data: dataDir, checkpoints: 1, adapters: 1, toBeFreed: 0 });
});

test('does nothing while a gateway runs on the directory', async () => {
  const dataDir = join(scratch(), 'data');
  await openRegistry(dataDir);
  const { code, err } = await run(['doctor', '--data', dataDir, '--repair']);
  expect(code).toBe(1);
  expect(err).toContain('stop it first');
});
