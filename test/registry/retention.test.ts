// Which steps stay, and why; pins; and that what goes answers 410 and leaves the trainer's files alone.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Checkpoint } from '../../src/domain.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { type Facts, judge } from '../../src/registry/retention.ts';
import type { Pin } from '../../src/registry/store.ts';
import { answer, checkpoint, openRegistry, scratch, writeCheckpoint } from './fixtures.ts';

const withLoss = (step: number, eval_loss?: number): Checkpoint =>
  checkpoint('m', step, {
    details: {
      metrics: eval_loss === undefined ? {} : { eval_loss },
      architecture: undefined,
      library: undefined,
    },
  });
const pin = (from: number, to: number, steps?: readonly number[]): Pin => ({
  id: 'p1',
  model: 'm' as Pin['model'],
  from,
  to,
  steps,
  owner: 'eval',
  createdAtMs: 0,
  untilMs: undefined,
});
const facts = (more: Partial<Facts>): Facts => ({
  checkpoints: [10, 20, 30, 40, 50].map((step) => withLoss(step, step)),
  keep: { last: 1 },
  best: { metric: 'eval_loss', direction: 'min' },
  names: [],
  deployments: [],
  pins: [],
  leased: () => false,
  ...more,
});
const kept = (more: Partial<Facts>) =>
  judge(facts(more)).flatMap(({ keep, checkpoint: { step, name } }) => (keep ? [step ?? name] : []));

describe('the rules', () => {
  test.each<[string, Partial<Facts>, readonly (number | string)[]]>([
    ['no rule keeps all', { keep: undefined }, [10, 20, 30, 40, 50]],
    ['an empty rule keeps all', { keep: {} }, [10, 20, 30, 40, 50]],
    ['last 2', { keep: { last: 2 } }, [40, 50]],
    ['best 2, and always the newest', { keep: { best: 2 } }, [10, 20, 50]],
    [
      'best 1 of a metric that is the better the greater',
      { keep: { best: 1 }, best: { metric: 'eval_loss', direction: 'max' } },
      [50],
    ],
    ['best of a metric that nobody has', { keep: { best: 3 }, best: { metric: 'x', direction: 'max' } }, [50]],
    ['every 20', { keep: { every: 20 } }, [20, 40, 50]],
    ['together they add up', { keep: { last: 1, best: 1, every: 30 } }, [10, 30, 50]],
    ['what a name leads to', { names: [{ alias: 'champion', step: 20 }] }, [20, 50]],
    ['a pinned range', { pins: [pin(15, 30)] }, [20, 30, 50]],
    ['pinned steps', { pins: [pin(10, 40, [10, 40])] }, [10, 40, 50]],
    ['what is in use', { leased: (adapter) => adapter === 'm@30' }, [30, 50]],
    ['an exact name', { checkpoints: [checkpoint('m', undefined), withLoss(10), withLoss(20)] }, ['m', 20]],
    [
      'what is not servable, and it counts for no rule',
      {
        checkpoints: [
          withLoss(10),
          withLoss(20),
          { ...withLoss(30), state: { kind: 'unservable', reasons: ['It is DoRA.'] } },
        ],
      },
      [20, 30],
    ],
    [
      'of equally good ones the newer',
      { checkpoints: [10, 20, 30].map((step) => withLoss(step, step === 30 ? 9 : 1)), keep: { best: 1 } },
      [20, 30],
    ],
  ])('%s', (_, more, expected) => expect(kept(more)).toEqual(expected));

  test('each verdict says why', () => {
    const verdicts = judge(
      facts({
        keep: { last: 1, every: 20 },
        names: [
          { alias: 'best', step: 10 },
          { alias: 'champion', step: 10 },
        ],
        deployments: [{ name: 'support', step: 30 }],
        pins: [pin(30, 30)],
      }),
    );
    expect(verdicts.map(({ why }) => why)).toEqual([
      '@best; @champion',
      'every 20',
      'deployment support; pin p1 of eval',
      'every 20',
      'last 1',
    ]);
    expect(judge(facts({}))[0]?.why).toBe('not in last 1');
  });

  test('whatever the rules: the newest step stays, and more rules never keep less', () => {
    const rule = fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined });
    const steps = fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(steps, rule, rule, rule, (some, last, best, every) => {
        const checkpoints = some.sort((a, b) => a - b).map((step) => withLoss(step, step % 5));
        const both = kept({ checkpoints, keep: { last, best, every } });
        expect(both).toContain(some.at(-1));
        for (const one of [{ last }, { best }, { every }]) {
          if (Object.values(one)[0] === undefined) continue;
          expect(both).toEqual(expect.arrayContaining(kept({ checkpoints, keep: one })));
        }
      }),
    );
  });
});

const nobody = { who: 'test', leased: () => false };

async function filled(registry: Registry, runs: string, steps: readonly number[]): Promise<void> {
  for (const step of steps) {
    const path = writeCheckpoint(join(runs, `checkpoint-${step}`), { seed: step });
    await registry.register({ name: `m@${step}`, path });
  }
}

describe('retention', () => {
  const models = { m: { latest: 'published', keep: { last: 2 } } } as const;

  test('a dry run says the same and deletes nothing', async () => {
    const { registry, changes } = await openRegistry(scratch(), { models });
    await filled(registry, scratch(), [5, 10, 15]);
    const dry = registry.retain('m', { dryRun: true, ...nobody });
    expect(dry.map(({ keep }) => keep)).toEqual([false, true, true]);
    expect(answer(registry, 'm@5')).toBe('m@5');
    expect(registry.retain('m', { dryRun: false, ...nobody })).toEqual(dry);
    expect(changes.at(-1)).toMatchObject({ kind: 'deleted', checkpoint: { name: 'm@5' } });
  });

  test("what goes answers checkpoint_deleted from then on; the trainer's files are not touched", async () => {
    const [dataDir, runs] = [scratch(), scratch()];
    const first = await openRegistry(dataDir, { models });
    await filled(first.registry, runs, [5, 10, 15, 20]);
    first.registry.retain('m', { dryRun: false, ...nobody });
    await first.registry.close();
    const { registry } = await openRegistry(dataDir, { models });
    expect([5, 10, 15, 20].map((step) => answer(registry, `m@${step}`))).toEqual([
      'checkpoint_deleted',
      'checkpoint_deleted',
      'm@15',
      'm@20',
    ]);
    expect(existsSync(join(runs, 'checkpoint-5', 'adapter_model.safetensors'))).toBe(true);
  });
});

describe('a pin', () => {
  test('keeps its steps from retention and from deletion until it ends, also over a restart', async () => {
    const dataDir = scratch();
    let nowMs = 1_000;
    const options = { models: { m: { latest: 'published', keep: { last: 1 } } }, nowMs: () => nowMs } as const;
    const first = await openRegistry(dataDir, options);
    await filled(first.registry, scratch(), [5, 10, 15]);
    const pinned = first.registry.pins.add({ model: 'm', steps: { from: 4, to: 7 }, owner: 'eval', ttlMs: 500 });
    expect(pinned).toMatchObject({ model: 'm', from: 4, to: 7, owner: 'eval', createdAtMs: 1_000, untilMs: 1_500 });
    await first.registry.close();

    const { registry } = await openRegistry(dataDir, options);
    expect(registry.pins.all()).toEqual([pinned]);
    expect(() => registry.remove('m@5')).toThrow(expect.objectContaining({ code: 'conflict' }));
    expect(() => registry.remove('m@5')).toThrow(`pin --remove ${pinned.id}`);
    registry.retain('m', { dryRun: false, ...nobody });
    expect([answer(registry, 'm@5'), answer(registry, 'm@10')]).toEqual(['m@5', 'checkpoint_deleted']);

    nowMs = 1_500;
    expect(registry.pins.all()).toEqual([]);
    registry.retain('m', { dryRun: false, ...nobody });
    expect(answer(registry, 'm@5')).toBe('checkpoint_deleted');
  });

  test('of a list keeps these steps alone; removed, it keeps none', async () => {
    const { registry } = await openRegistry(scratch());
    await filled(registry, scratch(), [5, 10, 15]);
    const pinned = registry.pins.add({ model: 'm', steps: [15, 5, 15], owner: 'eval', ttlMs: undefined });
    expect(pinned).toMatchObject({ from: 5, to: 15, steps: [5, 15], untilMs: undefined });
    registry.remove('m@10');
    expect(() => registry.remove('m@15')).toThrow(expect.objectContaining({ code: 'conflict' }));
    registry.pins.remove(pinned.id);
    registry.remove('m@15');
    expect(() => registry.pins.remove(pinned.id)).toThrow(expect.objectContaining({ code: 'model_not_found' }));
  });

  test.each([
    [{ steps: [] }, 'invalid_request'],
    [{ steps: [1.5] }, 'invalid_request'],
    [{ steps: { from: 5, to: 4 } }, 'invalid_request'],
    [{ steps: { from: -1, to: 4 } }, 'invalid_request'],
    [{ ttlMs: 0 }, 'invalid_request'],
    [{ ttlMs: Number.NaN }, 'invalid_request'],
    [{ ttlMs: 8.64e15 }, 'invalid_request'],
    [{ owner: ' ' }, 'invalid_request'],
    [{ model: 'x' }, 'model_not_found'],
  ])('%j is refused', async (wrong, code) => {
    const { registry } = await openRegistry(scratch(), { models: { m: {} } });
    const good = { model: 'm', steps: [5], owner: 'eval', ttlMs: 1_000 };
    expect(() => registry.pins.add({ ...good, ...wrong })).toThrow(expect.objectContaining({ code }));
    expect(registry.pins.all()).toEqual([]);
  });
});
