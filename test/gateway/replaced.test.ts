// Weights that were replaced while the gateway could not have the engine let go of them. Found by the chaos run.
import { expect, test } from 'vitest';
import { setUp, until } from './harness.ts';

test('an engine that holds a replaced revision across a restart: the gateway knows of it, and it makes room', async () => {
  const house = await setUp({ engines: [{ maxLoras: 2 }], latest: 'published' });
  const [sim] = house.sims;
  await house.write(10);
  await house.ask('my-model@10');
  // The engine keeps the old weights, whatever it is told.
  sim?.fault('unload', { kind: 'status', status: 500 }, Number.POSITIVE_INFINITY);
  const { catalog } = house.running.gateway.registry;
  await house.write(10, { seed: 2 });
  await until(() => catalog.find('my-model@10')?.revision === 2);
  const restarted = await house.restart();
  sim?.clearFaults();
  const listed = () => [...(sim?.stats().adapters.keys() ?? [])];
  const held = () => [...(restarted.running.gateway.router.state.backends.values().next().value?.held.keys() ?? [])];
  expect(listed()).toContain('my-model@10');
  expect(held()).toEqual(listed());

  await restarted.write(20);
  expect(await restarted.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(await restarted.ask('my-model@20')).toMatchObject({ status: 200, model: 'my-model@20' });
  await until(() => !listed().includes('my-model@10'));
  expect(held().sort()).toEqual(listed().sort());
});
