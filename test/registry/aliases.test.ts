// Names that move: who may move them where, what is remembered of it, and where they lead after a restart.
import { describe, expect, test } from 'vitest';
import { as } from '../../src/domain.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { answer, openRegistry, scratch, writeCheckpoint } from './fixtures.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

async function withSteps(registry: Registry, steps: readonly number[]): Promise<void> {
  for (const step of steps)
    await registry.register({ name: `m@${step}`, path: writeCheckpoint(scratch(), { seed: step }) });
}

const lines = (registry: Registry) =>
  registry.history('m').map(({ alias, from, to, by }) => `${alias}: ${from ?? '-'} -> ${to ?? '-'} (${by})`);

describe('an alias', () => {
  test('leads where it was moved to, also after a restart, and its history says who moved it when', async () => {
    const dataDir = scratch();
    let nowMs = 1_000;
    const first = await openRegistry(dataDir, { nowMs: () => nowMs++ });
    await withSteps(first.registry, [5, 10]);
    first.registry.moveAlias({ model: 'm', alias: 'champion', to: 5, who: 'ann' });
    first.registry.moveAlias({ model: 'm', alias: 'champion', to: 10, who: 'bob' });
    expect(answer(first.registry, 'm@champion')).toBe('m@10');
    await first.registry.close();

    const { registry } = await openRegistry(dataDir);
    expect(answer(registry, 'm@champion')).toBe('m@10');
    expect(registry.catalog.aliases('m')).toEqual([
      { model: 'm', alias: 'champion', step: 10, movedAtMs: expect.any(Number), by: 'bob' },
    ]);
    const ofChampion = registry.history('m').filter(({ alias }) => alias === 'champion');
    expect(ofChampion).toMatchObject([
      { from: 5, to: 10, by: 'bob' },
      { from: undefined, to: 5, by: 'ann' },
    ]);
    const [later, earlier] = ofChampion;
    expect(Number(later?.atMs)).toBeGreaterThan(Number(earlier?.atMs));
  });

  test('is told of once; moving it where it leads already is no move', async () => {
    const { registry, moves } = await openRegistry(scratch());
    await withSteps(registry, [5]);
    for (const who of ['ann', 'bob']) registry.moveAlias({ model: 'm', alias: 'champion', to: 5, who });
    registry.moveAlias({ model: 'm', alias: 'champion', to: undefined, who: 'ann' });
    expect(moves).toEqual(['latest -> m@5', 'champion -> m@5', 'champion -> undefined']);
    expect(answer(registry, 'm@champion')).toBe('model_not_found');
  });

  test.each<[string, number | null, number | undefined, number | 'conflict']>([
    ['points to what was expected', 5, 10, 10],
    ['points elsewhere', 10, 10, 'conflict'],
    ['is set though it should not be', null, 10, 'conflict'],
    ['points to what was expected, and is removed', 5, undefined, -1],
  ])('compare-and-set: it %s', async (_, expected, to, outcome) => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5, 10]);
    registry.moveAlias({ model: 'm', alias: 'champion', to: 5, expect: null, who: 'ann' });
    const move = () => registry.moveAlias({ model: 'm', alias: 'champion', to, expect: expected, who: 'bob' });
    if (outcome === 'conflict') {
      expect(move).toThrow(code('conflict'));
      expect(move).toThrow(/points to step 5 \(moved by ann\)/);
    } else {
      move();
      expect(registry.catalog.aliases('m')[0]?.step ?? -1).toBe(outcome);
    }
  });

  test.each([
    ['latest', 'invalid_request', /moves by itself/],
    ['best', 'invalid_request', /moves by itself/],
    ['v5', 'invalid_request', /reads as a version/],
    ['5', 'invalid_request', /a letter first/],
    ['a b', 'invalid_request', /a letter first/],
    ['', 'invalid_request', /a letter first/],
    ['taken', 'conflict', /exact name/],
  ])('cannot be called %j', async (alias, expected, words) => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5]);
    await registry.register({ name: 'm@taken', path: writeCheckpoint(scratch()) });
    const move = () => registry.moveAlias({ model: 'm', alias, to: 5, who: 'ann' });
    expect(move).toThrow(code(expected));
    expect(move).toThrow(words);
  });

  test('leads to servable steps only, and nothing is removed that is not there', async () => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5, 6]);
    registry.remove('m@6');
    const move = (model: string, to: number | undefined) => () =>
      registry.moveAlias({ model, alias: 'champion', to, who: 'ann' });
    expect(move('m', 7)).toThrow(code('model_not_found'));
    expect(move('m', 7)).toThrow(/nearest: m@5/);
    expect(move('m', 6)).toThrow(code('checkpoint_deleted'));
    expect(move('x', 5)).toThrow(code('model_not_found'));
    expect(move('m', undefined)).toThrow(code('model_not_found'));
  });

  test('keeps its step from being deleted, and its name from being registered', async () => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5, 10]);
    registry.moveAlias({ model: 'm', alias: 'champion', to: 5, who: 'ann' });
    expect(() => registry.remove('m@5')).toThrow(/"m@champion" leads to it/);
    await expect(registry.register({ name: 'm@champion', path: writeCheckpoint(scratch()) })).rejects.toMatchObject({
      code: 'conflict',
    });
    registry.moveAlias({ model: 'm', alias: 'champion', to: 10, who: 'ann' });
    registry.remove('m@5');
    expect(answer(registry, 'm@5')).toBe('checkpoint_deleted');
  });

  test('follows its step to the next revision', async () => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5]);
    registry.moveAlias({ model: 'm', alias: 'champion', to: 5, who: 'ann' });
    await registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 99 }) });
    expect(registry.catalog.resolve('m@champion')).toMatchObject({ checkpoint: { name: 'm@5', revision: 2 } });
  });
});

describe('latest and best', () => {
  test('are in the history too: what moved them, and where they led before', async () => {
    const { registry } = await openRegistry(scratch(), {
      models: { m: { latest: 'published', best: { metric: 'judge', direction: 'max' } } },
    });
    await withSteps(registry, [5, 10]);
    registry.patch('m@5', { judge: 0.5 }, 'ann');
    registry.patch('m@10', { judge: 0.4 }, 'ann');
    registry.patch('m@10', { judge: 0.7 }, 'bob');
    registry.remove('m@10', 'eve');
    expect(lines(registry)).toEqual([
      'best: 10 -> 5 (eve)',
      'latest: 10 -> 5 (eve)',
      'best: 5 -> 10 (bob)',
      'best: - -> 5 (ann)',
      'latest: 5 -> 10 (registration)',
      'latest: - -> 5 (registration)',
    ]);
    expect(registry.names('m')).toEqual([
      { alias: 'latest', step: 5 },
      { alias: 'best', step: 5 },
    ]);
  });

  test('a promotion that moves latest says so once', async () => {
    const { registry, moves } = await openRegistry(scratch());
    await withSteps(registry, [5, 10]);
    const five = registry.catalog.find('m@5') ?? expect.fail('m@5');
    for (let time = 0; time < 2; time++) registry.setLatest(as('m'), five.id);
    expect(moves).toEqual(['latest -> m@5', 'latest -> m@10', 'latest -> m@5']);
    expect(lines(registry)[0]).toBe('latest: 10 -> 5 (promotion)');
  });
});

describe('metrics', () => {
  test('set by hand stay beside those of the trainer, also after a restart; null removes one', async () => {
    const dataDir = scratch();
    const { registry, changes } = await openRegistry(dataDir);
    await withSteps(registry, [5]);
    registry.patch('m@5', { judge: 0.7, wer: 1 }, 'ann');
    const patched = registry.patch('m@05', { wer: null }, 'ann');
    expect(patched.details.metrics).toMatchObject({ judge: 0.7 });
    expect(patched.details.metrics).not.toHaveProperty('wer');
    expect(changes.at(-1)).toEqual({ kind: 'patched', checkpoint: patched });
    await registry.close();
    const reopened = await openRegistry(dataDir);
    expect(reopened.registry.catalog.find('m@5')).toEqual(patched);
  });

  test.each([[{ '': 1 }], [{ 'a\nb': 1 }], [{ ['x'.repeat(101)]: 1 }], [{ judge: Number.NaN }], [{ judge: Infinity }]])(
    'refuses %j, and sets nothing',
    async (metrics) => {
      const { registry } = await openRegistry(scratch());
      await withSteps(registry, [5]);
      const before = registry.catalog.find('m@5');
      expect(() => registry.patch('m@5', { good: 1, ...metrics }, 'ann')).toThrow(code('invalid_request'));
      expect(registry.catalog.find('m@5')).toBe(before);
    },
  );

  test('of what is not known, or deleted, cannot be set', async () => {
    const { registry } = await openRegistry(scratch());
    await withSteps(registry, [5]);
    registry.remove('m@5');
    expect(() => registry.patch('m@6', { a: 1 }, 'ann')).toThrow(code('model_not_found'));
    expect(() => registry.patch('m@5', { a: 1 }, 'ann')).toThrow(code('checkpoint_deleted'));
  });
});
