// An engine's lives: what was asked of it in one says nothing of the next, however late its end is told.
import { expect, test } from 'vitest';
import { type House, setUp, until } from './harness.ts';

const told = (house: House, type: string): number => house.happenings.filter((one) => one.type === type).length;

// Its failure was told after the engine was up again: the slot that was loading anew counted as free, and a chaos run saw more adapters run than slots.
test('a load that ends with its engine does not fail the one that its next life was asked for', async () => {
  const house = await setUp({ engines: [{}] });
  const [sim] = house.sims;
  await house.write(5);
  expect((await house.ask('my-model@5')).status).toBe(200); // so that it is no suspect when its engine ends
  sim?.fault('load', { kind: 'hang' });
  await sim?.restart();
  await until(() => sim?.faultsLeft() === 0);
  sim?.fault('load', { kind: 'late', ms: 300 });
  await sim?.restart();
  await until(() => told(house, 'loaded') === 2);
  expect(told(house, 'load')).toBe(3);
  expect(told(house, 'loadFailed')).toBe(0);
});

// It was told a second after the engine had gone, and took an adapter for ready that was on its way out.
test('an unload that ends with its engine does not undo one of its next life', async () => {
  const house = await setUp({ engines: [{ maxLoras: 1 }], latest: 'published' });
  const [sim] = house.sims;
  for (const step of [5, 6]) await house.write(step);
  expect((await house.ask('my-model@5')).status).toBe(200);
  sim?.fault('unload', { kind: 'hang' });
  const waiting = house.ask('my-model@6');
  await until(() => sim?.faultsLeft() === 0);
  await sim?.restart();
  await waiting;
  for (const step of [6, 5]) await until(async () => (await house.ask(`my-model@${step}`)).status === 200);
  sim?.fault('unload', { kind: 'late', ms: 1500 });
  expect((await house.ask('my-model@6')).status).toBe(200);
  expect(told(house, 'unload')).toBe(3);
});
