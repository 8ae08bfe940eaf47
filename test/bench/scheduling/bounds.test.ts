// Bounds that are to be trusted: known traces, and each never above what some scheduler does.
import { expect, test } from 'vitest';
import { beladyLoads, sweepBoundMs, windowedBound } from '../../../bench/scheduling/bounds.ts';
import { Heap } from '../../../bench/scheduling/heap.ts';
import { WORKLOADS } from '../../../bench/scheduling/workloads.ts';
import { seeded, seeds } from '../../random.ts';

test.each([
  { trace: '1 2 3 4 1 2 5 1 2 3 4 5', slots: 3, loads: 7 },
  { trace: '1 2 3 4 1 2 5 1 2 3 4 5', slots: 4, loads: 6 },
  { trace: '7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1', slots: 3, loads: 9 },
  { trace: '1 1 1 1', slots: 1, loads: 1 },
  { trace: '1 2 1 2', slots: 1, loads: 4 },
])('Belady loads $loads times for $trace with $slots slots', ({ trace, slots, loads }) => {
  expect(beladyLoads(trace.split(' '), slots)).toBe(loads);
});

test.each(seeds(20))('the windowed bound is never above what Belady does in order (seed %i)', (seed) => {
  const random = seeded(seed);
  const asked = Array.from({ length: 300 }, (_, index) => ({
    at: index * 10,
    adapter: `a@${Math.floor(20 * random.next() ** 2)}`,
  }));
  const optimum = beladyLoads(
    asked.map(({ adapter }) => adapter),
    4,
  );
  for (const delayMs of [0, 100, 1000])
    expect(windowedBound(asked, { slots: 4, delayMs }), `seed ${seed}`).toBeLessThanOrEqual(optimum);
});

test('the windowed bound counts disjoint windows, and gives way as more delay is allowed', () => {
  // Two adapters in turn, a second apart, and one slot: in order each needs a load; with delay they can be gathered.
  const asked = Array.from({ length: 40 }, (_, index) => ({ at: index * 1000, adapter: `a@${index % 2}` }));
  const bounds = [0, 5000, 60_000].map((delayMs) => windowedBound(asked, { slots: 1, delayMs }));
  expect(bounds[0]).toBeGreaterThan(bounds[1] ?? 0);
  expect(bounds[2]).toBe(2);
});

test('no sweep is faster than its adapters can be read and its tokens be made', () => {
  const workload = WORKLOADS.sweep?.(1, 'quick');
  if (workload === undefined) throw new Error('the sweep is gone');
  const readMs = (32 * workload.load.readMs) / workload.backends;
  const prefillMs =
    workload.requests.reduce((sum, { promptTokens }) => sum + promptTokens * 0.1, 0) / workload.backends;
  expect(sweepBoundMs(workload)).toBeGreaterThan(readMs + prefillMs);
  expect(sweepBoundMs({ ...workload, backends: 8 })).toBeLessThan(sweepBoundMs(workload));
});

test.each(seeds(5))('the heap gives the least first, and equals in order of entry (seed %i)', (seed) => {
  const random = seeded(seed);
  const heap = new Heap<[number, number]>();
  const entered = Array.from({ length: 500 }, (_, order): [number, number] => [random.below(50), order]);
  for (const item of entered) heap.push(item[0], item);
  const left = Array.from(entered, () => heap.pop());
  expect(left, `seed ${seed}`).toEqual(entered.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]));
});
