// What survives: restarts, kill -9, lost files; and what never happens over a registry's whole life.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { as } from '../../src/domain.ts';
import { type Random, seeded, seeds } from '../random.ts';
import { adapters, answer, openRegistry, safetensors, scratch, until, weightsOf, writeCheckpoint } from './fixtures.ts';

describe('a restart', () => {
  test('finds every row, pointer and adapter id again', async () => {
    const dataDir = scratch();
    const first = await openRegistry(dataDir);
    const five = await first.registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 1 }) });
    await first.registry.register({ name: 'm@6', path: writeCheckpoint(scratch(), { seed: 2 }) });
    await first.registry.register({ name: 'exact', path: writeCheckpoint(scratch(), { seed: 2 }), base: 'other-base' });
    first.registry.setLatest(as('m'), five.id);
    const before = first.registry.catalog.servable();
    await first.registry.close();
    const { registry } = await openRegistry(dataDir);
    expect(registry.catalog.servable()).toEqual(before);
    expect(answer(registry, 'm')).toBe('m@5');
    expect(await registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 3 }) })).toMatchObject({
      revision: 2,
    });
  });

  test('after kill -9 loses no registration that was acknowledged', { timeout: 30_000 }, async () => {
    const dataDir = scratch();
    const pairs = Array.from({ length: 100 }, (_, step) => `m@${step}=${writeCheckpoint(scratch(), { seed: step })}`);
    const script = join(import.meta.dirname, 'register-and-die.ts');
    const child = spawn(process.execPath, [script, dataDir, ...pairs], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let acknowledged = '';
    child.stdout.on('data', (piece) => {
      acknowledged += piece;
    });
    await until('some are acknowledged', () => acknowledged.split('\n').length > 10);
    child.kill('SIGKILL');
    await once(child, 'close');
    const { registry } = await openRegistry(dataDir);
    const names = acknowledged.trim().split('\n');
    expect(names.length).toBeLessThan(100);
    for (const name of names) {
      expect(answer(registry, name)).toBe(name);
      expect(weightsOf(registry.catalog.find(name) ?? expect.fail(name))).toEqual(safetensors(Number(name.slice(2))));
    }
    expect(adapters(dataDir).filter((entry) => entry.startsWith('.'))).toEqual([]);
  });

  test('with files missing from the store says so, and heals when the trainer still has them', async () => {
    const dataDir = scratch();
    const watch = scratch();
    writeCheckpoint(join(watch, 'checkpoint-5'));
    const models = { m: { watch } };
    const first = await openRegistry(dataDir, { models });
    first.registry.watch();
    await until('step 5 is registered', () => first.changes.length === 1);
    await first.registry.close();
    rmSync(join(dataDir, 'adapters'), { recursive: true });
    const { registry } = await openRegistry(dataDir, { models });
    expect(answer(registry, 'm@5')).toBe('checkpoint_not_servable');
    registry.watch();
    await until('it is served again', () => answer(registry, 'm@5') === 'm@5');
    expect(registry.catalog.find('m@5')?.adapter?.id).toBe('m@5');
  });

  test('while the first still runs is refused in words', async () => {
    const dataDir = scratch();
    await openRegistry(dataDir);
    await expect(openRegistry(dataDir)).rejects.toThrow(/in use: another stepgate/);
  });
});

test('an adapter id never stands for two different weights, whatever is registered, deleted and restarted in whatever order', {
  timeout: 60_000,
}, async () => {
  for (const seed of seeds(3)) {
    const random: Random = seeded(seed);
    const dataDir = scratch();
    const paths = [1, 2, 3, 4].map((content) => writeCheckpoint(scratch(), { seed: content }));
    const names = ['m@1', 'm@2', 'exact'];
    const digests = new Map<string, string>();
    let { registry } = await openRegistry(dataDir);
    for (let turn = 0; turn < 40; turn++) {
      const name = random.pick(names);
      if (random.chance(0.1)) {
        await registry.close();
        ({ registry } = await openRegistry(dataDir));
      } else if (random.chance(0.3)) {
        if (answer(registry, name) === name) registry.remove(name);
      } else {
        const { adapter, revision } = await registry.register({ name, path: random.pick(paths) });
        if (!adapter) throw new Error(`seed ${seed}, turn ${turn}: no adapter`);
        expect(digests.get(adapter.id) ?? adapter.digest, `seed ${seed}, turn ${turn}`).toBe(adapter.digest);
        digests.set(adapter.id, adapter.digest);
        expect(registry.catalog.find(name)?.revision, `seed ${seed}`).toBe(revision);
      }
    }
    expect(adapters(dataDir).length, `seed ${seed}`).toBeLessThanOrEqual(paths.length);
  }
});

test('closing ends discovery and waits for what is being taken; nothing is registered after', async () => {
  const watch = scratch();
  const dataDir = scratch();
  const { registry, changes } = await openRegistry(dataDir, { models: { m: { watch } } });
  registry.watch();
  const path = writeCheckpoint(scratch());
  const taking = registry.register({ name: 'm@5', path }).catch((error: unknown) => error);
  await registry.close();
  await taking;
  const count = changes.length;
  await expect(registry.register({ name: 'm@6', path })).rejects.toMatchObject({ code: 'shutting_down' });
  writeCheckpoint(join(watch, 'checkpoint-7'));
  renameSync(join(watch, 'checkpoint-7'), join(watch, 'checkpoint-8'));
  expect(changes).toHaveLength(count);
  expect(existsSync(join(dataDir, 'registry.sqlite'))).toBe(true);
});
