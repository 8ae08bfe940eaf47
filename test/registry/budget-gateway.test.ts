// The store's budget through a whole gateway: deleted steps make room, but never under an engine that may still read them.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FAST, type House, setUp, until } from '../gateway/harness.ts';

const GRACE_MS = 400;
/** Long answers: deleted while they run. */
const SLOW = { ...FAST, tokenMs: 20, answerTokens: 60 };

const pathOf = (house: House, step: number) =>
  house.running.gateway.registry.catalog.find(`my-model@${step}`)?.adapter?.path ?? expect.fail('no adapter');
const remove = (house: House, step: number) =>
  fetch(`${house.running.adminUrl}/admin/v1/models/my-model/checkpoints/${step}`, { method: 'DELETE' });

test('what no engine has held goes at once, and the gauge shows it', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(1);
  await house.write(2);
  const path = pathOf(house, 1);
  const metric = async () =>
    Number(/^stepgate_store_bytes (\d+)$/m.exec(await (await fetch(`${house.running.url}/metrics`)).text())?.[1]);
  const before = await metric();
  expect((await remove(house, 1)).ok).toBe(true);
  await until(() => !existsSync(path));
  expect(await metric()).toBeLessThan(before);
  expect((await house.ask('my-model@2')).status).toBe(200);
});

test('what an engine runs stays until its requests have ended, and as long again as one may live', async () => {
  const house = await setUp({
    latest: 'published',
    engines: [SLOW],
    config: { deadlines: { wholeMs: 2_000 } },
  });
  await house.write(1);
  await house.write(2);
  const path = pathOf(house, 1);
  const running = house.ask('my-model@1');
  await until(() => (house.running.gateway.router.state.backends.get('gpu-0' as never)?.inFlight ?? 0) > 0);
  await remove(house, 1);
  expect((await running).status).toBe(200);
  expect(existsSync(path)).toBe(true);
  await until(() => !existsSync(path), 10_000);
});

test('what an engine lists under an older name stays until the engine has let go of it and its last requests are over', async () => {
  const house = await setUp({ latest: 'published', config: { deadlines: { wholeMs: GRACE_MS } } });
  await house.write(1);
  await house.ask('my-model@1');
  const old = pathOf(house, 1);
  await house.write(1, { seed: 7 });
  await until(() => house.running.gateway.registry.catalog.find('my-model@1')?.revision === 2);
  expect(existsSync(old)).toBe(true);
  await until(() => !existsSync(old), 10_000);
  expect((await house.ask('my-model@1')).status).toBe(200);
});

test('a store that is full refuses with 507 until a step is deleted', async () => {
  const first = await setUp({ latest: 'published' });
  await first.write(1);
  const { bytes } = first.running.gateway.registry.catalog.find('my-model@1')?.adapter ?? expect.fail('no adapter');
  await first.running.close({ now: true });
  const bytesMax = Math.max(1_048_576, Math.ceil(bytes * 1.5));
  const steps = Math.floor(bytesMax / bytes);
  const house = await setUp({ latest: 'published', config: { store: { bytesMax } } });
  for (let step = 1; step <= steps; step++) await house.write(step);
  const over = house.write(steps + 1);
  const path = join(house.runs, readdirSync(house.runs)[0] ?? '');
  const refused = await fetch(`${house.running.adminUrl}/admin/v1/checkpoints`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'other@1', path }),
  });
  expect(refused.status).toBe(507);
  expect(await refused.text()).toMatch(/store\.bytesMax.*Delete steps/);
  for (let step = 1; step <= steps; step++) expect((await house.ask(`my-model@${step}`)).status).toBe(200);
  // What the engine still listed at its last look counts as held, and would stay for as long as a request may live.
  const engines = [...house.running.gateway.fleet.members.values()];
  await until(() => engines.every(({ backend }) => backend.sighting?.adapters?.has('my-model@1') === false));
  await remove(house, 1);
  await over;
});
