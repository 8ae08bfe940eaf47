// A slice of the chaos run: kills, crashes, lies and publications against a gateway in a process of its own, and nothing wrong. By hand it runs for
// as long as one likes (npm run chaos, docs/chaos.md). A failure prints its seed, with which it can be replayed.
import { expect, test } from 'vitest';
import { chaos } from './driver.ts';
import { planOf, type Turn } from './plan.ts';

/** One whose first storms bring the gateway a kill -9 and a stop. */
const SEED = 106;
const ENGINES = 3;
const REQUESTS_EACH = 2400;

const turnsOf = (seed: number, count: number): Turn[] => {
  const turns: Turn[] = [];
  for (const turn of planOf({ seed, engines: ENGINES, requestsEach: REQUESTS_EACH })) {
    turns.push(turn);
    if (turns.length === count) break;
  }
  return turns;
};

test('a seed decides everything that happens', () => {
  expect(turnsOf(SEED, 4)).toEqual(turnsOf(SEED, 4));
  expect(turnsOf(SEED, 4)).not.toEqual(turnsOf(SEED + 1, 4));
});

test(`chaos, seed ${SEED}: every request ends once, with the right step's words or an error that it deserves, and nothing is left behind`, {
  timeout: 240_000,
}, async () => {
  const kinds = new Set(turnsOf(SEED, 4).flatMap(({ deeds }) => deeds.map(({ deed }) => deed.kind)));
  expect([...kinds]).toEqual(
    expect.arrayContaining(['killGateway', 'stopGateway', 'crash', 'fault', 'write', 'drain', 'reload']),
  );
  const report = await chaos({ seed: SEED, engines: ENGINES, requestsEach: REQUESTS_EACH, requestsMax: 8_400 });
  expect(
    report.complaints,
    `npm run chaos -- --seed ${SEED} --engines ${ENGINES} --requests-each ${REQUESTS_EACH}`,
  ).toEqual([]);
  expect(report.kills).toBe(2);
  // The weather is no excuse: most are answered.
  expect((report.outcomes.get('ok') ?? 0) / report.requests).toBeGreaterThan(0.7);
});
