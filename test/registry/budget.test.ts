// The store's budget: what fits is taken, what does not is refused in words, and room that was freed counts.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AdapterStore } from '../../src/registry/adapter-store.ts';
import { stampsOf } from '../../src/registry/inspect.ts';
import { Roots } from '../../src/registry/roots.ts';
import { neededBy, StoreBudget } from '../../src/registry/store-budget.ts';
import { checkpoint, scratch, writeCheckpoint } from './fixtures.ts';

const FULL = { code: 'storage_full', status: 507, message: expect.stringMatching(/store\.bytesMax.*Delete steps/) };

async function storeFor(adapters: number) {
  const dir = join(scratch(), 'adapters');
  const first = await AdapterStore.open(dir, new Roots([]));
  const { bytes, digest } = (await take(first, 0)) ?? expect.fail('nothing was taken');
  const open = () => AdapterStore.open(dir, new Roots([]), { bytesMax: bytes * adapters + 1 });
  return { dir, bytes, digest, open };
}

async function take(store: AdapterStore, seed: number) {
  const source = writeCheckpoint(scratch(), { seed });
  return store.take(source, (await stampsOf(source)).signature);
}

test('a store over its budget takes nothing more, keeps what it has, and takes again when room was made', async () => {
  const { dir, bytes, digest, open } = await storeFor(2);
  const store = await open();
  expect(store.bytes).toBe(bytes);
  await take(store, 1);
  await expect(take(store, 2)).rejects.toMatchObject(FULL);
  expect(readdirSync(dir)).toHaveLength(2);
  await store.sweep(new Set([digest]));
  await take(store, 2);
  expect(store.bytes).toBe(2 * bytes);
});

test('many takes at once do not pass the budget together', async () => {
  const { dir, bytes, open } = await storeFor(4);
  const store = await open();
  const outcomes = await Promise.allSettled([1, 2, 3, 4, 5, 6, 7, 8].map((seed) => take(store, seed)));
  const taken = outcomes.filter(({ status }) => status === 'fulfilled').length;
  expect(taken).toBeGreaterThan(0);
  expect(taken).toBeLessThanOrEqual(3);
  for (const one of outcomes) if (one.status === 'rejected') expect(one.reason).toMatchObject(FULL);
  expect(store.bytes).toBe(bytes * (taken + 1));
  expect(readdirSync(dir)).toHaveLength(taken + 1);
});

test('room that was promised is given back once, and content counts once', () => {
  const budget = new StoreBudget(100);
  const giveBack = budget.promise(60, 'one');
  expect(() => budget.promise(60, 'two')).toThrow(/two needs/);
  giveBack();
  giveBack();
  budget.keep('a' as never, 60);
  budget.keep('a' as never, 60);
  expect(budget.bytes).toBe(60);
  expect(() => budget.promise(40, 'two')).not.toThrow();
  expect(() => new StoreBudget(undefined).promise(1e15, 'all')).not.toThrow();
});

test('needed is what any live checkpoint stands for, not what was deleted', () => {
  const adapter = (digest: string) => ({ id: digest as never, path: '', digest: digest as never, bytes: 1, rank: 1 });
  const rows = [
    checkpoint('m', 1, { adapter: adapter('a') }),
    checkpoint('m', 2, { adapter: adapter('b'), state: { kind: 'deleted', atMs: 1 } }),
    checkpoint('m', 3, { adapter: adapter('a'), state: { kind: 'deleted', atMs: 1 } }),
    checkpoint('m', 4, { adapter: undefined }),
  ];
  expect(neededBy(rows)).toEqual(new Set(['a']));
});
