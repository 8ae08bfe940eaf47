// Promise: what the disk refuses has not happened, what is too much is refused, and any request is translated or refused, never a bug.
import { beforeEach, expect, test } from 'vitest';
import { Deployments } from '../../src/deployments/deployments.ts';
import { translate } from '../../src/deployments/translation.ts';
import { as, type BaseName } from '../../src/domain.ts';
import { StepgateError } from '../../src/errors.ts';
import { Catalog } from '../../src/registry/catalog.ts';
import type { Build, DeploymentRows } from '../../src/registry/store.ts';
import { seeded, seeds } from '../random.ts';
import { MemoryPlace } from '../registry/memory-store.ts';

let rows: DeploymentRows;
let catalog: Catalog;
let told: string[];

const open = () =>
  new Deployments({
    rows,
    catalog,
    nowMs: () => 1_000,
    onChange: (name, build) => told.push(`${name} ${build?.build}`),
  });
const code = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return (error as StepgateError).code;
  }
  return 'done';
};

beforeEach(() => {
  rows = new MemoryPlace().open();
  catalog = new Catalog();
  catalog.setBases([{ name: as<BaseName>('base'), maxModelLen: 100 }]);
  told = [];
});

test('a full disk changes nothing: the build before goes on answering, and what was not removed is there', () => {
  const deployments = open();
  deployments.change('support', { target: 'base' }, 'ann');
  const { commit } = rows;
  rows.commit = () => {
    throw new StepgateError('storage_full', 'full');
  };
  expect(code(() => deployments.change('support', { chat: true }, 'ann'))).toBe('storage_full');
  expect(code(() => deployments.change('other', { target: 'base' }, 'ann'))).toBe('storage_full');
  expect(code(() => deployments.remove('support', 'ann'))).toBe('storage_full');
  rows.commit = commit;
  expect([deployments.all().map(({ deployment, build, chat }) => [deployment, build, chat]), told]).toEqual([
    [['support', 1, false]],
    ['support 1'],
  ]);
  expect(catalog.resolve('support')).toMatchObject({ kind: 'base', build: { build: 1 } });
});

test('there are at most 1,000, and of each the newest 100 builds', () => {
  const deployments = open();
  for (let index = 0; index < 1_000; index++) deployments.change(`d${index}`, { target: 'base' }, 'ann');
  expect(code(() => deployments.change('more', { target: 'base' }, 'ann'))).toBe('conflict');
  expect(code(() => deployments.change('d7', { chat: true }, 'ann'))).toBe('done');
  for (let seed = 0; seed < 120; seed++) deployments.change('d0', { generation: { seed } }, 'ann');
  expect(deployments.builds('d0').map(({ build }) => build)).toEqual(
    Array.from({ length: 100 }, (_, index) => 121 - index),
  );
  expect(code(() => deployments.rollback('d0', 21, 'ann'))).toBe('deployment_not_found');
});

test('while its engine is down a deployment can be changed and rolled back, but not led to what is not there', () => {
  const deployments = open();
  deployments.change('support', { target: 'base', template: 'one {prompt}' }, 'ann');
  catalog.setBases([]);
  expect(deployments.change('support', { template: 'two {prompt}' }, 'ann').build).toBe(2);
  expect(deployments.rollback('support', 1, 'ann')).toMatchObject({ build: 3, template: 'one {prompt}' });
  for (const work of [
    () => deployments.change('other', { target: 'base' }, 'ann'),
    () => deployments.change('support', { target: 'bas' }, 'ann'),
  ])
    expect(work).toThrow('No engine has come up yet, so no base is known');
});

test('it leads to what its target means, never on through another deployment, whatever names come later', () => {
  const deployments = open();
  catalog.setBases(['a', 'b'].map((name) => ({ name: as<BaseName>(name), maxModelLen: 1 })));
  deployments.change('x', { target: 'a' }, 'ann');
  deployments.change('y', { target: 'b' }, 'ann');
  catalog.setBases([{ name: as<BaseName>('b'), maxModelLen: 1 }]);
  deployments.change('a', { target: 'b' }, 'ann');
  expect(catalog.resolve('x')).toMatchObject({ kind: 'refused', code: 'model_not_found' });
  expect(catalog.resolve('a')).toMatchObject({ kind: 'base', base: { name: 'b' } });
  catalog.setBases(['b', 'y'].map((name) => ({ name: as<BaseName>(name), maxModelLen: 1 })));
  expect(catalog.resolve('y')).toMatchObject({ kind: 'refused', code: 'conflict' });
  deployments.remove('y', 'ann');
  expect(catalog.resolve('y')).toEqual({ kind: 'base', base: expect.objectContaining({ name: 'y' }) });
});

test('any request is translated, with its prompt whole, or refused as the caller’s fault', () => {
  for (const seed of seeds(200)) {
    const random = seeded(seed);
    const keys = ['prompt', 'question', 'temperature', 'max_new_tokens', 'do_sample', 'stop', '__proto__', 'x', ''];
    const values = ['Hi {x}', 0, 1.5, -1, true, null, [], ['a'], {}, Number.POSITIVE_INFINITY, '', undefined];
    const build: Build = {
      deployment: 'd',
      build: 1,
      target: 'base',
      generation: { temperature: 0.5 },
      template: random.pick([undefined, 'Q: {question}', '{prompt}{question}']),
      chat: random.chance(0.5),
      createdAtMs: 0,
      by: 'ann',
      copyOf: undefined,
    };
    const request = Object.fromEntries(
      Array.from({ length: random.below(5) }, () => [random.pick(keys), random.pick(values)]),
    );
    try {
      const { prompt, members } = translate(build, request);
      expect(JSON.stringify(members), `seed ${seed}`).toContain(JSON.stringify(prompt));
      expect(members.temperature, `seed ${seed}`).toBeTypeOf('number');
    } catch (error) {
      expect(error instanceof StepgateError && error.code, `seed ${seed}: ${String(error)}`).toBe('invalid_request');
    }
  }
});
