import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { as, type BaseModel, type Checkpoint, type LatestPolicy, NO_DETAILS } from '../../src/domain.ts';
import { Catalog } from '../../src/registry/catalog.ts';
import { checkpoint } from './fixtures.ts';

const base: BaseModel = { name: as('base'), maxModelLen: 4096 };
const deleted = { state: { kind: 'deleted', atMs: 0 } } as const;
const dora = { state: { kind: 'unservable', reasons: ['It is DoRA.', 'It has biases.'] }, adapter: undefined } as const;

function catalogOf(steps: readonly number[], latest: LatestPolicy = 'ready'): Catalog {
  const catalog = new Catalog();
  catalog.setBases([base]);
  catalog.setModel(as('my-model'), { latest });
  for (const step of steps) catalog.put(checkpoint('my-model', step));
  return catalog;
}

/** What a name leads to, in one word. */
function answer(catalog: Catalog, name: string): string {
  const resolution = catalog.resolve(name);
  if (resolution.kind === 'base') return `base ${resolution.base.name}`;
  return resolution.kind === 'checkpoint' ? resolution.checkpoint.name : resolution.code;
}

function refusal(catalog: Catalog, name: string): string {
  const resolution = catalog.resolve(name);
  if (resolution.kind !== 'refused') throw new Error(`${name} was not refused`);
  return resolution.message;
}

describe('what a name means', () => {
  test.each([
    ['my-model@5', 'my-model@5'],
    ['my-model@0005', 'my-model@5'],
    ['my-model', 'my-model@60'],
    ['my-model@latest', 'my-model@60'],
    ['base', 'base base'],
    ['my-model@7', 'model_not_found'],
    ['my-model@champion', 'model_not_found'],
    ['My-model@5', 'model_not_found'],
    ['my-model@5 ', 'model_not_found'],
    ['base@5', 'model_not_found'],
    ['', 'model_not_found'],
    ['__proto__', 'model_not_found'],
  ])('%j leads to %s', (name, expected) => expect(answer(catalogOf([5, 10, 60]), name)).toBe(expected));

  test('an exactly registered name wins before any parsing', () => {
    const catalog = catalogOf([5]);
    for (const name of ['name:eval', 'org/x@rev', 'my-model']) catalog.put(checkpoint(name, undefined));
    expect(answer(catalog, 'name:eval')).toBe('name:eval');
    expect(answer(catalog, 'org/x@rev')).toBe('org/x@rev');
    expect(answer(catalog, 'my-model')).toBe('my-model');
    expect(answer(catalog, 'my-model@latest')).toBe('my-model@5');
    expect(answer(catalog, 'name:eval@latest')).toBe('model_not_found');
  });

  test('a deleted step, and one that cannot be served, say so under every spelling', () => {
    const catalog = catalogOf([5]);
    catalog.put(checkpoint('my-model', 6, deleted));
    catalog.put(checkpoint('my-model', 7, dora));
    expect([answer(catalog, 'my-model@6'), answer(catalog, 'my-model@06')]).toEqual([
      'checkpoint_deleted',
      'checkpoint_deleted',
    ]);
    expect(answer(catalog, 'my-model@007')).toBe('checkpoint_not_servable');
    expect(refusal(catalog, 'my-model@7')).toBe('"my-model@7" cannot be served: It is DoRA. It has biases.');
  });

  test('a revision takes the place of the one before', () => {
    const catalog = catalogOf([5]);
    catalog.put(checkpoint('my-model', 5, { revision: 2 }));
    expect(catalog.resolve('my-model@5')).toMatchObject({ checkpoint: { revision: 2 } });
    expect(catalog.checkpoints('my-model')).toHaveLength(1);
  });

  test('a name that is both a base and a checkpoint is refused rather than guessed', () => {
    const catalog = catalogOf([]);
    catalog.put(checkpoint('base', undefined));
    expect(answer(catalog, 'base')).toBe('conflict');
    catalog.setBases([]);
    expect(answer(catalog, 'base')).toBe('base');
    catalog.setBases([base]);
    catalog.put(checkpoint('base', undefined, deleted));
    expect(answer(catalog, 'base')).toBe('base base');
  });

  test('a base that no engine serves any more is not found', () => {
    const catalog = catalogOf([]);
    catalog.setBases([{ name: as('other'), maxModelLen: undefined }]);
    expect([answer(catalog, 'base'), answer(catalog, 'other')]).toEqual(['model_not_found', 'base other']);
  });
});

describe('latest', () => {
  test('moves at once where the policy is `published`', () => {
    const catalog = catalogOf([5, 60, 10], 'published');
    catalog.setLatest(as('my-model'), checkpoint('my-model', 5).id);
    expect(answer(catalog, 'my-model')).toBe('my-model@60');
  });

  test('waits for its promotion where the policy is `ready`', () => {
    const catalog = catalogOf([5]);
    catalog.setLatest(as('my-model'), checkpoint('my-model', 5).id);
    catalog.put(checkpoint('my-model', 10));
    expect(answer(catalog, 'my-model')).toBe('my-model@5');
    catalog.setLatest(as('my-model'), checkpoint('my-model', 10).id);
    expect(answer(catalog, 'my-model@latest')).toBe('my-model@10');
  });

  test.each([
    ['deleted', deleted],
    ['found not servable', dora],
  ])('falls back to the newest servable step when the promoted one was %s', (_, state) => {
    const catalog = catalogOf([5, 10, 20]);
    catalog.setLatest(as('my-model'), checkpoint('my-model', 5).id);
    catalog.put(checkpoint('my-model', 5, state));
    catalog.put(checkpoint('my-model', 20, state));
    expect(answer(catalog, 'my-model')).toBe('my-model@10');
  });

  test("follows the promoted step's name to its next revision", () => {
    const catalog = catalogOf([5, 10]);
    catalog.setLatest(as('my-model'), checkpoint('my-model', 5).id);
    catalog.put(checkpoint('my-model', 5, { revision: 2, id: as('another') }));
    expect(catalog.resolve('my-model')).toMatchObject({ checkpoint: { name: 'my-model@5', revision: 2 } });
  });

  test('is an error where the policy is `error`, but steps are not', () => {
    const catalog = catalogOf([5, 10], 'error');
    expect(answer(catalog, 'my-model')).toBe('name_ambiguous');
    expect(answer(catalog, 'my-model@latest')).toBe('name_ambiguous');
    expect(refusal(catalog, 'my-model')).toContain('"my-model@10"');
    expect(answer(catalog, 'my-model@5')).toBe('my-model@5');
  });

  test("cannot be moved to another model's checkpoint, nor to none", () => {
    const catalog = catalogOf([5]);
    catalog.put(checkpoint('other', 5));
    expect(catalog.setLatest(as('my-model'), checkpoint('other', 5).id)).toBe(false);
    expect(catalog.setLatest(as('my-model'), as('nothing'))).toBe(false);
  });

  test('of a model without a servable step says why', () => {
    const catalog = catalogOf([]);
    catalog.put(checkpoint('my-model', 7, dora));
    expect(answer(catalog, 'my-model')).toBe('checkpoint_not_servable');
    catalog.put(checkpoint('my-model', 7, deleted));
    expect(answer(catalog, 'my-model')).toBe('model_not_found');
  });
});

describe('best', () => {
  const scored = (step: number, judge: number | undefined, more: Partial<Checkpoint> = {}) =>
    checkpoint('my-model', step, {
      details: { ...NO_DETAILS, metrics: judge === undefined ? {} : { judge } },
      ...more,
    });

  function scores(direction: 'min' | 'max', steps: readonly (readonly [number, number | undefined])[]): Catalog {
    const catalog = new Catalog();
    catalog.setModel(as('my-model'), { latest: 'ready', best: { metric: 'judge', direction } });
    for (const [step, judge] of steps) catalog.put(scored(step, judge));
    return catalog;
  }

  test.each([
    ['the least', 'min', 'my-model@10'],
    ['the greatest', 'max', 'my-model@20'],
  ] as const)(
    'is %s of the metric where the direction is so; steps without it do not count',
    (_, direction, expected) => {
      const steps = [
        [5, 0.5],
        [10, 0.1],
        [20, 0.9],
        [30, undefined],
      ] as const;
      expect(answer(scores(direction, steps), 'my-model@best')).toBe(expected);
    },
  );

  test('is the newer of equals, in whatever order they came', () => {
    for (const order of [
      [10, 20, 30],
      [30, 20, 10],
      [20, 30, 10],
    ]) {
      const catalog = scores(
        'max',
        order.map((step) => [step, step === 10 ? 0 : 1]),
      );
      expect(answer(catalog, 'my-model@best')).toBe('my-model@30');
    }
  });

  test('moves when metrics change, and when it can be served no more', () => {
    const catalog = scores('max', [
      [5, 0.5],
      [10, 0.7],
      [20, 0.6],
    ]);
    catalog.put(scored(10, 0.1));
    expect(answer(catalog, 'my-model@best')).toBe('my-model@20');
    catalog.put(scored(20, 0.6, deleted));
    expect(answer(catalog, 'my-model@best')).toBe('my-model@5');
    catalog.put(scored(5, 0.5, dora));
    expect(answer(catalog, 'my-model@best')).toBe('my-model@10');
  });

  test('of a model without the metric is not found, and says which metric it looked for', () => {
    const catalog = scores('max', [[5, undefined]]);
    expect(answer(catalog, 'my-model@best')).toBe('model_not_found');
    expect(refusal(catalog, 'my-model@best')).toContain('No step of "my-model" has the metric "judge"');
  });

  test('any sequence of changes: the same as looking at all of them', () => {
    const change = fc.record({
      step: fc.nat(6),
      judge: fc.option(fc.nat(3), { nil: undefined }),
      state: fc.constantFrom('servable', 'unservable', 'deleted'),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), fc.constantFrom('min', 'max'), (changes, direction) => {
        const catalog = scores(direction, []);
        const now = new Map<number, number>();
        for (const { step, judge, state } of changes) {
          catalog.put(scored(step, judge, state === 'servable' ? {} : state === 'deleted' ? deleted : dora));
          now.delete(step);
          if (judge !== undefined && state === 'servable') now.set(step, direction === 'min' ? -judge : judge);
        }
        const [best] = [...now].sort(([a, x], [b, y]) => y - x || b - a);
        expect(catalog.best('my-model')?.step).toBe(best?.[0]);
      }),
    );
  });
});

describe('the nearest step on one side', () => {
  const catalog = catalogOf([5, 10, 60]);
  catalog.put(checkpoint('my-model', 20, deleted));
  catalog.put(checkpoint('my-model', 30, dora));

  test.each([
    ['my-model@<=10', 'my-model@10'],
    ['my-model@<10', 'my-model@5'],
    ['my-model@<=59', 'my-model@10'],
    ['my-model@>=11', 'my-model@60'],
    ['my-model@>=60', 'my-model@60'],
    ['my-model@>10', 'my-model@60'],
    ['my-model@<=9007199254740991', 'my-model@60'],
    ['my-model@<5', 'model_not_found'],
    ['my-model@>60', 'model_not_found'],
  ])('%j leads to %s', (name, expected) => expect(answer(catalog, name)).toBe(expected));

  test('a side without a servable step says what there is', () => {
    expect(refusal(catalog, 'my-model@<5')).toBe(
      '"my-model" has no servable step < 5. Ask for one step, such as "my-model@60" (steps 5..60, 3 in all).',
    );
  });
});

test('what is taken back was never there', () => {
  const catalog = catalogOf([5]);
  for (const one of [checkpoint('my-model', 10), checkpoint('other', 1), checkpoint('exact', undefined)]) {
    catalog.put(one);
    catalog.forget(one);
  }
  expect(catalog.models()).toEqual(['my-model']);
  expect([answer(catalog, 'my-model'), answer(catalog, 'my-model@10')]).toEqual(['my-model@5', 'model_not_found']);
});

describe('what a refusal tells', () => {
  test('an unknown step: the nearest ones, the range, and how many', () => {
    const catalog = catalogOf(Array.from({ length: 12 }, (_, index) => (index + 1) * 5));
    catalog.put(checkpoint('my-model', 8, deleted));
    expect(refusal(catalog, 'my-model@7')).toBe(
      '"my-model" has no step 7; nearest: my-model@5, my-model@10, my-model@15, my-model@20, my-model@25 (steps 5..60, 12 in all).',
    );
  });

  test('an unknown model: the names most like it', () => {
    const catalog = catalogOf([5]);
    for (const name of ['zeta', 'my-models-other', 'eta']) catalog.put(checkpoint(name, 1));
    expect(refusal(catalog, 'my-modle@5')).toContain('Known: my-model, my-models-other, ... (5 in all)');
    expect(refusal(catalog, 'qqq')).toContain('Known: base, ');
    expect(refusal(new Catalog(), 'x')).toContain('No model is known yet');
  });

  test('a configured model of which nothing was found yet: where it looks', () => {
    const catalog = catalogOf([]);
    catalog.setModel(as('my-model'), { latest: 'ready', watch: '/runs/my-model' });
    for (const name of ['my-model', 'my-model@5']) {
      expect(answer(catalog, name)).toBe('model_not_found');
      expect(refusal(catalog, name)).toContain(
        'No complete checkpoint of "my-model" was found yet. It looks in /runs/my-model.',
      );
    }
  });

  test('a long or odd name comes back short and on one line', () => {
    const message = refusal(catalogOf([]), `a\n${'b'.repeat(10_000)}`);
    expect(message.length).toBeLessThan(300);
    expect(message).not.toContain('\n');
  });
});

test('any sequence of registrations and deletions: a name leads to its own checkpoint or to a refusal, and latest to the newest servable step', () => {
  const change = fc.record({ step: fc.nat(8), state: fc.constantFrom('servable', 'unservable', 'deleted') });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const catalog = new Catalog();
      const states = new Map<number, string>();
      for (const { step, state } of changes) {
        catalog.put(checkpoint('m', step, state === 'servable' ? {} : state === 'deleted' ? deleted : dora));
        states.set(step, state);
      }
      const servable = [...states].flatMap(([step, state]) => (state === 'servable' ? step : [])).sort((a, b) => a - b);
      for (let step = 0; step <= 9; step++)
        expect(answer(catalog, `m@${step}`) === `m@${step}`).toBe(servable.includes(step));
      expect(catalog.servable().map((one) => one.step)).toEqual(servable);
      expect(catalog.latest('m')?.step).toBe(servable.at(-1));
    }),
  );
});

test('listings: models by name, steps ascending', () => {
  const catalog = catalogOf([10, 5]);
  catalog.put(checkpoint('alpha', undefined));
  expect(catalog.bases).toEqual([base]);
  expect(catalog.models()).toEqual(['alpha', 'my-model']);
  expect(catalog.servable().map((one) => one.name)).toEqual(['alpha', 'my-model@5', 'my-model@10']);
});
