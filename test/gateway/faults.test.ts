// What happens when engines and callers misbehave: the right step or a clear error, once, and nothing left behind.
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, setUp, until, weightsOf } from './harness.ts';

async function withSteps(house: House, steps: readonly number[]): Promise<void> {
  for (const step of steps) await house.write(step);
}

const streamOf = (house: House, model: string, signal?: AbortSignal) =>
  fetch(`${house.running.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'hi' }], max_tokens: 10_000 }),
    ...(signal && { signal }),
  });

const nothingLeft = (house: House) =>
  until(() => {
    const { router, inFlight } = house.running.gateway;
    const leases = [...router.state.backends.values()].flatMap((backend) =>
      [...backend.held.values()].map((held) => held.leases),
    );
    return inFlight === 0 && router.state.tickets.size === 0 && leases.every((count) => count === 0);
  });

test('a hundred concurrent requests for one cold adapter make one load', async () => {
  const house = await setUp({ engines: [{ loadMs: 50 }], latest: 'published' });
  await withSteps(house, [10]);
  const answers = await Promise.all(Array.from({ length: 100 }, () => house.ask('my-model@10')));
  expect(answers.every(({ model }) => model === 'my-model@10')).toBe(true);
  expect(house.sims[0]?.stats().loadCalls.get('my-model@10')).toBe(1);
});

test('a streaming caller that is held hears comments until its answer begins', async () => {
  const house = await setUp({
    engines: [{ loadMs: 150 }],
    latest: 'published',
    config: { scheduling: { commentEveryMs: 20 } },
  });
  await withSteps(house, [10]);
  const response = await streamOf(house, 'my-model@10');
  expect(response.status).toBe(200);
  expect(response.headers.get('x-stepgate-model')).toBe('my-model@10');
  const text = await response.text();
  expect(text).toMatch(/^: my-model@10 waits/);
  expect(text).toContain('[my-model@10 sha:');
  expect(text).toMatch(/data: \[DONE\]\s*$/);
});

test('a held stream whose load fails ends with an error event, and no [DONE]', async () => {
  const house = await setUp({
    engines: [{ loadMs: 150, maxLoraRank: 8 }],
    latest: 'published',
    config: { scheduling: { commentEveryMs: 20 } },
  });
  await house.write(10, { rank: 32 });
  const text = await (await streamOf(house, 'my-model@10')).text();
  expect(text).toContain('"code":"checkpoint_not_servable"');
  expect(text).not.toContain('[DONE]');
});

test('a caller that leaves while it waits loads nothing more and leaves nothing behind', async () => {
  const house = await setUp({ engines: [{ maxLoras: 1, tokenMs: 5, answerTokens: 10_000 }], latest: 'published' });
  await withSteps(house, [10, 20]);
  const running = new AbortController();
  await streamOf(house, 'my-model@10', running.signal);
  const waiting = new AbortController();
  const waiter = streamOf(house, 'my-model@20', waiting.signal).catch((error: Error) => error.name);
  await until(() => house.running.gateway.router.state.waiting === 1);
  waiting.abort();
  expect(await waiter).toBe('AbortError');
  await until(() => house.running.gateway.router.state.waiting === 0);
  running.abort();
  await nothingLeft(house);
  expect(house.sims[0]?.stats().loadCalls.get('my-model@20')).toBeUndefined();
});

test('a caller that leaves in the stream: the engine hears of it within 100 ms, and the slot is free', async () => {
  const house = await setUp({ engines: [{ tokenMs: 5, answerTokens: 10_000 }], latest: 'published' });
  await withSteps(house, [10]);
  const leave = new AbortController();
  const response = await streamOf(house, 'my-model@10', leave.signal);
  const reader = response.body?.getReader();
  await reader?.read();
  const before = performance.now();
  leave.abort();
  await until(() => house.sims[0]?.stats().aborted === 1);
  expect(performance.now() - before).toBeLessThan(100);
  await nothingLeft(house);
});

test('an engine that has forgotten an adapter gets it again, and the request never notices', async () => {
  const house = await setUp({ latest: 'published', config: { probe: { everyMs: 60_000 } } });
  await withSteps(house, [10]);
  await house.ask('my-model@10');
  house.sims[0]?.forget('my-model@10');
  const answer = await house.ask('my-model@10');
  expect(answer).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(answer.headers.get('x-stepgate-why')).toBe('reload');
  await nothingLeft(house);
});

test('an engine that was restarted is noticed, and gets its adapters again', async () => {
  const house = await setUp({ latest: 'published' });
  await withSteps(house, [10]);
  await house.ask('my-model@10');
  await house.sims[0]?.restart();
  await until(() => house.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
  await until(() => house.running.gateway.fleet.members.values().next().value?.state === 'up');
  expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
});

test('an engine that dies: its requests end with an error, the next ones go to another engine', async () => {
  const house = await setUp({ engines: [{}, {}], latest: 'published' });
  await withSteps(house, [10]);
  const first = await house.ask('my-model@10');
  const index = first.headers.get('x-stepgate-backend') === 'gpu-0' ? 0 : 1;
  house.sims[index]?.kill();
  const next = await house.ask('my-model@10');
  expect(next).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(next.headers.get('x-stepgate-backend')).toBe(`gpu-${1 - index}`);
  await nothingLeft(house);
});

test('with every engine dead callers are told at once, with Retry-After; and it recovers by itself', async () => {
  const house = await setUp({ latest: 'published' });
  await withSteps(house, [10]);
  house.sims[0]?.kill();
  // The request that finds it dead may have been sent already: that one is not sent again.
  await house.ask('my-model@10');
  const refused = await house.ask('my-model@10');
  expect(refused).toMatchObject({ status: 503, code: 'backend_unavailable' });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  await house.sims[0]?.restart();
  await until(async () => (await house.ask('my-model@10')).status === 200);
});

test('a load whose answer was lost is settled before the name is used', async () => {
  const house = await setUp({ latest: 'published' });
  await withSteps(house, [10]);
  house.sims[0]?.fault('load', { kind: 'lost' });
  expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(house.sims[0]?.stats().loads).toBe(1);
});

test('a stream that breaks in the middle ends with an error event and no [DONE]; the slot is free', async () => {
  const house = await setUp({ engines: [{ answerTokens: 50 }], latest: 'published' });
  await withSteps(house, [10]);
  house.sims[0]?.fault('inference', { kind: 'cut', afterTokens: 3 });
  const text = await (await streamOf(house, 'my-model@10')).text();
  expect(text).toContain('[my-model@10 sha:');
  expect(text).toContain('"code":"backend_error"');
  expect(text).not.toContain('[DONE]');
  await nothingLeft(house);
});

test('an adapter that an engine holds under our name from another path is never served', async () => {
  const house = await setUp({ latest: 'published' });
  await withSteps(house, [10]);
  const other = await house.write(99, { seed: 7 });
  const sim = house.sims[0]?.url;
  await fetch(`${sim}/v1/load_lora_adapter`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ lora_name: 'my-model@10', lora_path: other }),
  });
  const answer = await house.ask('my-model@10');
  expect(answer).toMatchObject({ status: 502, code: 'backend_error' });
  expect(answer.message).toContain('another path');
});

test('no adapter starves: two clients in a loop on two adapters, a third is served within its bound', async () => {
  const house = await setUp({
    engines: [{ answerTokens: 20, tokenMs: 1 }],
    latest: 'published',
    config: { scheduling: { drainAfterMs: { rollout: 200 } } },
  });
  await withSteps(house, [10, 20, 30]);
  let looping = true;
  const loop = async (model: string) => {
    while (looping) expect((await house.ask(model)).model).toBe(model);
  };
  const loops = Array.from({ length: 12 }, (_, index) => loop(`my-model@${index % 2 === 0 ? 10 : 20}`));
  await until(() => (house.sims[0]?.stats().running ?? 0) > 6);
  const before = performance.now();
  const third = await house.ask('my-model@30');
  expect(third).toMatchObject({ status: 200, model: 'my-model@30' });
  expect(third.headers.get('x-stepgate-why')).toMatch(/^(drain|evict)$/);
  expect(performance.now() - before).toBeLessThan(1500);
  looping = false;
  await Promise.all(loops);
  expect(house.sims[0]?.stats().maxDistinctInFlight).toBeLessThanOrEqual(2);
});

test('a gateway that is restarted knows everything, and finds the adapters that its engines hold', async () => {
  const house = await setUp();
  await house.write(10);
  const path = await house.write(20);
  await until(() => house.happenings.some((one) => one.type === 'promoted' && one.checkpoint === 'my-model@20'));
  await fetch(`${house.running.adminUrl}/admin/v1/models/my-model/checkpoints/10`, { method: 'DELETE' });
  const again = await house.restart();
  const answer = await again.ask('my-model');
  expect(answer).toMatchObject({ status: 200, model: 'my-model@20' });
  expect(answer.headers.get('x-stepgate-why')).toBe('resident');
  expect(answer.text).toContain(await weightsOf(path));
  expect(await again.ask('my-model@10')).toMatchObject({ status: 410 });
  expect(again.sims[0]?.stats().loadCalls.get('my-model@20')).toBe(1);
});

test('the trainer may rotate its directory away: the step is served from the store', async () => {
  const house = await setUp({ latest: 'published' });
  const path = await house.write(10);
  await rm(path, { recursive: true });
  expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
});

test('a trainer that speaks to vLLM speaks to the gateway unchanged', async () => {
  const house = await setUp({ latest: 'published' });
  const path = await writeCheckpoint({ dir: `${house.home}/elsewhere`, step: 7 });
  const load = await house.post('/v1/load_lora_adapter', { lora_name: 'run-b@7', lora_path: path });
  expect(await load.text()).toBe("Success: LoRA adapter 'run-b@7' added successfully.");
  expect((await house.post('/v1/load_lora_adapter', { lora_name: 'run-b@7', lora_path: path })).status).toBe(200);
  expect(await house.ask('run-b@7')).toMatchObject({ status: 200, model: 'run-b@7' });
  await house.post('/v1/load_lora_adapter', { lora_name: 'name:eval', lora_path: path });
  expect(await house.ask('name:eval')).toMatchObject({ status: 200, model: 'name:eval' });
  const unload = await house.post('/v1/unload_lora_adapter', { lora_name: 'run-b@7' });
  expect(await unload.text()).toBe("Success: LoRA adapter 'run-b@7' removed successfully.");
  expect(await house.ask('run-b@7')).toMatchObject({ status: 410 });
});

test('a step that is deleted while it answers ends in peace, then leaves the engine', async () => {
  const house = await setUp({ engines: [{ tokenMs: 2, answerTokens: 50 }], latest: 'published' });
  await withSteps(house, [10]);
  const response = await streamOf(house, 'my-model@10');
  const text = response.text();
  await fetch(`${house.running.adminUrl}/admin/v1/checkpoints/my-model@10`, { method: 'DELETE' });
  expect(await house.ask('my-model@10')).toMatchObject({ status: 410 });
  expect(await text).toContain('[DONE]');
  await until(() => house.sims[0]?.stats().adapters.size === 0);
});

test('closing lets running answers end, and turns new ones away', async () => {
  const house = await setUp({ engines: [{ tokenMs: 2, answerTokens: 100 }], latest: 'published' });
  await withSteps(house, [10]);
  const response = await streamOf(house, 'my-model@10');
  const closing = house.running.close();
  const refused = await house.ask('my-model@10');
  expect(refused).toMatchObject({ status: 503, code: 'shutting_down' });
  expect((await fetch(`${house.running.url}/ready`)).status).toBe(503);
  expect(await response.text()).toContain('[DONE]');
  await closing;
});
