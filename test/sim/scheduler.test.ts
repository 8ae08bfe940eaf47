// The rule by which sequences enter a step: vLLM's, unfair as it is.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Scheduler } from '../../src/sim/scheduler.ts';

const sequences = (...adapters: (number | undefined)[]) => adapters.map((adapter, i) => ({ adapter, i }));

test('an adapter over the limit is skipped, and later ones of running adapters and of the base overtake it', () => {
  const scheduler = new Scheduler<{ adapter: number | undefined; i: number }>({ maxLoras: 2, maxNumSeqs: 10 });
  const [first, second, third, overtaking, base] = sequences(1, 2, 3, 1, undefined);
  for (const sequence of [first, second, third, overtaking, base]) if (sequence) scheduler.add(sequence);

  expect(scheduler.admit()).toEqual([first, second, overtaking, base]);
  expect(scheduler.waiting).toEqual([third]);
  if (first) scheduler.remove(first);
  expect(scheduler.admit()).toEqual([]);
  if (overtaking) scheduler.remove(overtaking);
  expect(scheduler.admit()).toEqual([third]);
});

test('whatever comes and goes, a step holds no more adapters and sequences than its limits, and loses none', () => {
  const limits = { maxLoras: 2, maxNumSeqs: 4 };
  const arrivals = fc.array(fc.record({ adapter: fc.option(fc.nat(4), { nil: undefined }), ends: fc.nat(3) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(arrivals, (list) => {
      const scheduler = new Scheduler<{ adapter: number | undefined }>(limits);
      let live = 0;
      for (const { adapter, ends } of list) {
        scheduler.add({ adapter });
        scheduler.admit();
        live += 1;
        expect(scheduler.runningAdapters().size).toBeLessThanOrEqual(limits.maxLoras);
        expect(scheduler.running.size).toBeLessThanOrEqual(limits.maxNumSeqs);
        for (const ended of [...scheduler.running].slice(0, ends)) {
          scheduler.remove(ended);
          live -= 1;
        }
        expect(scheduler.running.size + scheduler.waiting.length).toBe(live);
      }
    }),
  );
});
