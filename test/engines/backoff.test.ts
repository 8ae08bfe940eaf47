import { expect, test } from 'vitest';
import { Backoff } from '../../src/engines/backoff.ts';

const options = { firstMs: 1_000, maxMs: 60_000, calmMs: 300_000, endsMax: 8 };

test('each quick end is waited for twice as long, up to the most; after the last one it is given up', () => {
  const backoff = new Backoff({ ...options, maxMs: 10_000 });
  const waits = Array.from({ length: 8 }, () => backoff.ended(0));
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, undefined]);
});

test('one that was up for long begins anew', () => {
  const backoff = new Backoff(options);
  for (let end = 1; end < 7; end++) backoff.ended(299_999);
  expect([backoff.ended(300_000), backoff.ends, backoff.ended(0)]).toEqual([1_000, 1, 2_000]);
});
