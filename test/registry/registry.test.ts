import { spawnSync } from 'node:child_process';
import { rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { as } from '../../src/domain.ts';
import {
  adapters,
  answer,
  DORA,
  openRegistry,
  safetensors,
  scratch,
  weightsOf,
  withHeader,
  writeCheckpoint,
} from './fixtures.ts';

describe('registering', () => {
  test('takes the files, answers to the name, and tells it', async () => {
    const dataDir = scratch();
    const { registry, changes } = await openRegistry(dataDir);
    const path = writeCheckpoint(scratch(), { seed: 7 });
    const five = await registry.register({ name: 'my-model@0005', path });
    expect(five).toMatchObject({
      name: 'my-model@5',
      model: 'my-model',
      step: 5,
      revision: 1,
      source: path,
      adapter: { id: 'my-model@5', rank: 4 },
    });
    expect(weightsOf(five)).toEqual(safetensors(7));
    expect(registry.catalog.resolve('my-model@5')).toEqual({ kind: 'checkpoint', checkpoint: five });
    expect(changes).toEqual([{ kind: 'registered', checkpoint: five, replaced: undefined }]);
  });

  test('an exact name keeps its text, also one that looks like an alias', async () => {
    const { registry } = await openRegistry(scratch());
    const path = writeCheckpoint(scratch());
    for (const name of ['org/x@rev', 'name:active', 'm@v5']) {
      expect(await registry.register({ name, path })).toMatchObject({
        name,
        model: name,
        step: undefined,
        adapter: { id: name },
      });
      expect(answer(registry, name)).toBe(name);
    }
  });

  test('is idempotent: the same content under the same name is the same checkpoint, from wherever it comes', async () => {
    const dataDir = scratch();
    const { registry, changes } = await openRegistry(dataDir);
    const first = await registry.register({ name: 'm@5', path: writeCheckpoint(scratch()) });
    expect(await registry.register({ name: 'm@5', path: first.source })).toBe(first);
    expect(await registry.register({ name: 'm@05', path: writeCheckpoint(scratch()) })).toBe(first);
    expect(changes).toHaveLength(1);
    expect(adapters(dataDir)).toEqual([first.adapter?.digest]);
  });

  test('other content under the name is the next revision, with another adapter id', async () => {
    const { registry, changes } = await openRegistry(scratch());
    const first = await registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 1 }) });
    const second = await registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 2 }) });
    expect(second).toMatchObject({ revision: 2, adapter: { id: `m@5-${second.adapter?.digest.slice(0, 8)}` } });
    expect(changes.at(-1)).toEqual({ kind: 'registered', checkpoint: second, replaced: first });
    expect(weightsOf(first)).toEqual(safetensors(1));
  });

  test('at the same time under one name: in turn, each content once', async () => {
    const { registry, changes } = await openRegistry(scratch());
    const paths = [1, 2, 1, 1].map((seed) => writeCheckpoint(scratch(), { seed }));
    const all = await Promise.all(paths.map((path) => registry.register({ name: 'm@5', path })));
    expect(all.map((one) => one.revision)).toEqual([1, 2, 3, 3]);
    expect(all[3]).toBe(all[2]);
    expect(changes).toHaveLength(3);
  });

  test('a relative path is looked for under the roots', async () => {
    const root = scratch();
    writeCheckpoint(join(root, 'run', 'checkpoint-5'));
    const { registry } = await openRegistry(scratch(), { roots: [root] });
    expect((await registry.register({ name: 'm@5', path: 'run/checkpoint-5' })).source).toBe(
      join(root, 'run', 'checkpoint-5'),
    );
  });
});

describe('a registration is refused, and nothing is kept of it', () => {
  test.each<[string, string, (dir: string) => void, string]>([
    ['no directory', 'checkpoint_invalid', (dir) => rmSync(dir, { recursive: true }), 'There is no directory'],
    [
      'no config',
      'checkpoint_invalid',
      (dir) => rmSync(join(dir, 'adapter_config.json')),
      'has no adapter_config.json',
    ],
    [
      'half-written weights',
      'checkpoint_invalid',
      (dir) => truncateSync(join(dir, 'adapter_model.safetensors'), safetensors(1).length - 4),
      `has ${safetensors(1).length - 4} of`,
    ],
    [
      'no weights',
      'checkpoint_invalid',
      (dir) => rmSync(join(dir, 'adapter_model.safetensors')),
      'has no adapter_model.safetensors',
    ],
  ])('%s', async (_, code, damage, sentence) => {
    const dataDir = scratch();
    const path = writeCheckpoint(join(scratch(), 'checkpoint-5'));
    damage(path);
    const { registry, changes } = await openRegistry(dataDir);
    await expect(registry.register({ name: 'm@5', path })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(sentence),
    });
    expect(answer(registry, 'm@5')).toBe('model_not_found');
    expect([changes, adapters(dataDir)]).toEqual([[], []]);
  });

  test('a bad name, the name of a base, a relative path without roots', async () => {
    const { registry } = await openRegistry(scratch());
    const path = writeCheckpoint(scratch());
    registry.catalog.setBases([{ name: as('base'), maxModelLen: undefined }]);
    await expect(registry.register({ name: 'a,b', path })).rejects.toMatchObject({
      code: 'invalid_request',
      param: 'name',
    });
    await expect(registry.register({ name: 'm@latest', path })).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(registry.register({ name: 'base', path })).rejects.toMatchObject({ code: 'conflict' });
    await expect(registry.register({ name: 'm@5', path: 'run' })).rejects.toMatchObject({
      code: 'invalid_request',
      param: 'path',
    });
  });

  test('a path outside the roots, straight or by a symlink, of the directory or of a file', async () => {
    const top = scratch();
    const outside = writeCheckpoint(join(top, 'outside'));
    const inside = writeCheckpoint(join(top, 'runs', 'checkpoint-1'));
    symlinkSync(outside, join(top, 'runs', 'link'));
    rmSync(join(inside, 'adapter_config.json'));
    symlinkSync(join(outside, 'adapter_config.json'), join(inside, 'adapter_config.json'));
    const { registry } = await openRegistry(scratch(), { roots: [join(top, 'runs')] });
    for (const path of [outside, join(top, 'runs', 'link'), inside, '../outside', join(top, 'runs', '..', 'outside')]) {
      await expect(registry.register({ name: 'm@5', path })).rejects.toMatchObject({ code: 'path_not_allowed' });
    }
  });

  test('a disk that is full', async (context) => {
    const path = writeCheckpoint(scratch());
    writeFileSync(join(path, 'adapter_model.safetensors'), bigSafetensors(4_000_000));
    const mount = scratch();
    const script = `mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"`;
    const run = spawnSync(
      'timeout',
      [
        '5',
        'unshare',
        '-rm',
        'sh',
        '-c',
        script,
        mount,
        process.execPath,
        join(import.meta.dirname, 'register-and-die.ts'),
        mount,
        `m@5=${path}`,
      ],
      { encoding: 'utf8' },
    );
    if (!run.stdout) return context.skip('this machine cannot mount a small disk');
    expect(run.stdout).toContain('The disk under `data` is full');
  });
});

describe('a checkpoint that no engine would serve', () => {
  test('is refused with its reasons, is known, and can be registered right later', async () => {
    const dataDir = scratch();
    const { registry, changes } = await openRegistry(dataDir);
    const path = writeCheckpoint(scratch(), { config: DORA });
    for (let times = 0; times < 2; times++) {
      await expect(registry.register({ name: 'm@5', path })).rejects.toMatchObject({
        code: 'checkpoint_not_servable',
        message: expect.stringContaining('use_dora'),
      });
    }
    expect(changes.map((change) => change.kind)).toEqual(['unservable']);
    expect(answer(registry, 'm@5')).toBe('checkpoint_not_servable');
    expect(adapters(dataDir)).toEqual([]);
    const good = await registry.register({ name: 'm@5', path: writeCheckpoint(path) });
    expect(good).toMatchObject({ revision: 2, adapter: { id: 'm@5' } });
  });

  test('asked for under a name that is served: the request fails, and the name is served on', async () => {
    const { registry } = await openRegistry(scratch());
    const good = await registry.register({ name: 'm@5', path: writeCheckpoint(scratch()) });
    await expect(
      registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { config: DORA }) }),
    ).rejects.toMatchObject({ code: 'checkpoint_not_servable' });
    expect(registry.catalog.find('m@5')).toBe(good);
  });
});

describe('deleting', () => {
  test('answers checkpoint_deleted from then on, also after a restart', async () => {
    const dataDir = scratch();
    const { registry, changes } = await openRegistry(dataDir);
    await registry.register({ name: 'm@5', path: writeCheckpoint(scratch()) });
    const deleted = registry.remove('m@005');
    expect(changes.at(-1)).toEqual({ kind: 'deleted', checkpoint: deleted });
    expect(() => registry.remove('m@5')).toThrow(expect.objectContaining({ code: 'checkpoint_deleted' }));
    await registry.close();
    expect(answer((await openRegistry(dataDir)).registry, 'm@5')).toBe('checkpoint_deleted');
  });

  test('takes the name of one checkpoint: no model, no base, nothing unknown', async () => {
    const { registry } = await openRegistry(scratch());
    registry.catalog.setBases([{ name: as('base'), maxModelLen: undefined }]);
    await registry.register({ name: 'm@5', path: writeCheckpoint(scratch()) });
    for (const name of ['m', 'm@latest', 'm@6', 'base', 'x']) {
      expect(() => registry.remove(name)).toThrow(expect.objectContaining({ code: 'model_not_found' }));
    }
  });

  test('and registering again: the same weights get their adapter id back, others a new one', async () => {
    const { registry } = await openRegistry(scratch());
    const [one, two] = [writeCheckpoint(scratch(), { seed: 1 }), writeCheckpoint(scratch(), { seed: 2 })];
    await registry.register({ name: 'm@5', path: one });
    registry.remove('m@5');
    const other = await registry.register({ name: 'm@5', path: two });
    expect(other).toMatchObject({ revision: 2, adapter: { id: `m@5-${other.adapter?.digest.slice(0, 8)}` } });
    registry.remove('m@5');
    expect(await registry.register({ name: 'm@5', path: one })).toMatchObject({ revision: 3, adapter: { id: 'm@5' } });
  });
});

function bigSafetensors(bytes: number): Buffer {
  const columns = Math.ceil(bytes / 16);
  const pair = {
    'q_proj.lora_A.weight': { dtype: 'F32', shape: [4, columns], data_offsets: [0, columns * 16] },
    'q_proj.lora_B.weight': { dtype: 'F32', shape: [1, 4], data_offsets: [columns * 16, columns * 16 + 16] },
  };
  return withHeader(pair, Buffer.alloc(columns * 16 + 16, 7));
}
