// What happens to a fleet of simulated engines and its callers when things go wrong: the right step or a clear error, once, and nothing left behind.
// What no HTTP server would do on the wire is test/faults'.
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { rowsOf } from '../faults/row.ts';
import { type House, setUp, until, weightsOf } from './harness.ts';

const [slots, callers, lies] = [rowsOf('slots'), rowsOf('callers'), rowsOf('lies')];

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

slots(
  {
    fault: '500 concurrent requests for one cold adapter',
    required: 'exactly one load call',
    mechanism: '`router/lines.ts`: a line per adapter; `router/slots.ts` loads once',
  },
  async () => {
    const house = await setUp({ engines: [{ loadMs: 50 }], latest: 'published' });
    await withSteps(house, [10]);
    const answers = await Promise.all(Array.from({ length: 500 }, () => house.ask('my-model@10')));
    expect(answers.every(({ model }) => model === 'my-model@10')).toBe(true);
    expect(house.sims[0]?.stats().loadCalls.get('my-model@10')).toBe(1);
    return '500 answers of that adapter, one load call';
  },
);

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

callers(
  {
    fault: 'leaves while it waits for a slot',
    required: 'nothing is loaded for it, nothing is left behind',
    mechanism: '`router/waiting.ts` forgets it',
  },
  async () => {
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
    return 'no load for it; the line is empty, the slot is free';
  },
);

lies(
  {
    fault: 'is restarted, its connections broken and its adapters gone',
    required: 'noticed; it gets its adapters again',
    mechanism: '`backends/backend.ts`; `router/slots.ts` forgets what it held',
  },
  async () => {
    const house = await setUp({ latest: 'published' });
    await withSteps(house, [10]);
    await house.ask('my-model@10');
    await house.sims[0]?.restart();
    await until(() => house.happenings.some((one) => one.type === 'backend' && one.state === 'down'));
    await until(() => house.running.gateway.fleet.members.values().next().value?.state === 'up');
    expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
    return 'down, then up; the next answer is of the right step';
  },
);

slots(
  {
    fault: 'twelve callers in a loop on two adapters, two slots, and one asks for a third',
    required: 'the third gets its slot within its bound (docs/scheduling.md)',
    mechanism: '`router/giving.ts` drains a slot for a line that is due',
  },
  async () => {
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
    return 'answered by the third within 1.5 s, `drainAfterMs` 0.2 s; never more than two adapters at once';
  },
);

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
