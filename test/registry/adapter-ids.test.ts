import { expect, test } from 'vitest';
import { type Adapter, as, type CheckpointName, type Digest } from '../../src/domain.ts';
import { AdapterIds } from '../../src/registry/adapter-ids.ts';
import { checkpoint } from './fixtures.ts';

const digest = (first: string) => as<Digest>(first.padEnd(64, '0'));

function remember(ids: AdapterIds, name: string, weights: Digest): string {
  const id = ids.idFor(as<CheckpointName>(name), weights);
  const adapter: Adapter = { id, path: '/store', digest: weights, bytes: 1, rank: 4 };
  ids.remember(checkpoint(name, undefined, { adapter }));
  return id;
}

test('the first weights of a name get the name itself, later ones a short digest, the same ones the same id', () => {
  const ids = new AdapterIds();
  const given = ['aaaa', 'bbbb', 'aaaa', 'bbbb'].map((first) => remember(ids, 'm@5', digest(first)));
  expect(given).toEqual(['m@5', 'm@5-bbbb0000', 'm@5', 'm@5-bbbb0000']);
});

test('digests that begin alike get longer ids', () => {
  const ids = new AdapterIds();
  const given = ['aaaa', 'bbbbbbbb1', 'bbbbbbbb2'].map((first) => remember(ids, 'm@5', digest(first)));
  expect(given).toEqual(['m@5', 'm@5-bbbbbbbb', 'm@5-bbbbbbbb20000000']);
});

test('two names never share an id, even when one is spelled like the id of the other', () => {
  const ids = new AdapterIds();
  remember(ids, 'm@5', digest('aaaa'));
  remember(ids, 'm@5', digest('bbbb'));
  expect(remember(ids, 'm@5-bbbb0000', digest('bbbb'))).toBe('m@5-bbbb0000-bbbb0000');
});
