// Answers by their ids: found on the engine that made them, by any gateway of the same config, also after its restart; and those made in the
// background, whose adapter stays until they are made.
import { expect, test } from 'vitest';
import { answerId, placeOf } from '../../src/openai/answer-id.ts';
import type { SimOptions } from '../../src/sim/sim.ts';
import { type House, setUp, until } from './harness.ts';

interface Kept {
  readonly id: string;
  readonly model: string;
  readonly status: string;
}

const KEEPING: SimOptions = { keepResponses: true };

async function withSteps(steps: readonly number[], engines: readonly SimOptions[]): Promise<House> {
  const house = await setUp({ engines, latest: 'published' });
  for (const step of steps) await house.write(step);
  return house;
}

async function create(house: House, more: object = {}): Promise<Kept & { backend: string | null }> {
  const response = await house.post('/v1/responses', { model: 'my-model@5', input: 'hi', ...more });
  expect(response.status).toBe(200);
  return { ...((await response.json()) as Kept), backend: response.headers.get('x-stepgate-backend') };
}

const get = (house: House, id: string) => fetch(`${house.running.url}/v1/responses/${id}`);
const statusOf = async (house: House, id: string) => ((await (await get(house, id)).json()) as Kept).status;
const leases = ({ running }: House) =>
  [...running.gateway.router.state.backends.values()].flatMap(({ held }) =>
    [...held.values()].map((one) => one.leases),
  );

test('an answer is got from the engine that made it, also after a restart of the gateway', async () => {
  const house = await withSteps([5], [KEEPING, KEEPING]);
  // Whichever engine each was made on.
  const made = await Promise.all([create(house), create(house), create(house)]);
  const again = await house.restart();
  for (const { id, backend } of made) {
    const response = await get(again, id);
    expect(response.status).toBe(200);
    expect(response.headers.get('x-stepgate-backend')).toBe(backend);
    expect(await response.json()).toMatchObject({ id, model: 'my-model@5', status: 'completed' });
  }
});

test('under the name that was asked for, where the engine knows it by another', async () => {
  const house = await withSteps([5, 5], [KEEPING]);
  await house.write(5, { seed: 99 });
  await until(() => house.running.gateway.registry.catalog.find('my-model@5')?.revision === 2);
  const { id, model } = await create(house);
  expect(model).toBe('my-model@5');
  expect(await (await get(house, id)).json()).toMatchObject({ id, model: 'my-model@5' });
});

test('an answer that goes on from another goes to the engine that has it, however busy, while it holds the step', async () => {
  const engine = { ...KEEPING, tokenMs: 2, answerTokens: 30_000 };
  const house = await withSteps([5], [engine, engine]);
  // The step on both: the second is loaded by hand, and seen at the next look.
  const { id, backend } = await create(house, { max_output_tokens: 2 });
  const { path } = house.running.gateway.registry.catalog.find('my-model@5')?.adapter ?? {};
  const other = house.sims[backend === 'gpu-0' ? 1 : 0];
  await fetch(`${other?.url}/v1/load_lora_adapter`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ lora_name: 'my-model@5', lora_path: path }),
  });
  await until(() => leases(house).length === 2);
  const stream = new AbortController();
  const body = { model: 'my-model@5', input: 'hi', stream: true };
  const busy = Array.from({ length: 4 }, () =>
    fetch(`${house.running.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, previous_response_id: id }),
      signal: stream.signal,
    }),
  );
  for (const answer of await Promise.all(busy)) expect(answer.headers.get('x-stepgate-backend')).toBe(backend);
  stream.abort();
});

test('the SDK retrieves and cancels', async () => {
  const house = await withSteps([5], [{ ...KEEPING, tokenMs: 5, answerTokens: 10_000 }]);
  const { id } = await house.openai.responses.create({ model: 'my-model@5', input: 'hi', background: true });
  expect((await house.openai.responses.retrieve(id)).id).toBe(id);
  expect((await house.openai.responses.cancel(id)).status).toBe('cancelled');
  expect((await house.openai.responses.retrieve(id)).status).toBe('cancelled');
  await until(() => house.running.gateway.inFlight === 0);
});

test('an answer that was waited for cannot be cancelled, in the engine’s words', async () => {
  const house = await withSteps([5], [KEEPING]);
  const { id } = await create(house);
  const response = await house.post(`/v1/responses/${id}/cancel`, '');
  expect(response.status).toBe(400);
  expect(await response.text()).toContain('Cannot cancel a synchronous response.');
});

test('while an answer is made in the background its adapter keeps its slot', async () => {
  const house = await withSteps([5, 10], [{ ...KEEPING, maxLoras: 1, tokenMs: 2, answerTokens: 200 }]);
  const { id, status } = await create(house, { background: true });
  expect(status).toBe('queued');
  const other = house.ask('my-model@10', { max_tokens: 2 });
  await until(() => house.running.gateway.router.state.waiting === 1);
  expect(leases(house)).toEqual([1]);
  expect(await statusOf(house, id)).not.toBe('completed');
  expect((await other).model).toBe('my-model@10');
  expect(await statusOf(house, id)).toBe('completed');
  expect(house.sims[0]?.stats().maxDistinctInFlight).toBe(1);
  await until(() => house.running.gateway.inFlight === 0);
});

test('a stream in the background goes on when its caller leaves, and can be read from its beginning', async () => {
  const house = await withSteps([5], [{ ...KEEPING, tokenMs: 2, answerTokens: 100 }]);
  const leave = new AbortController();
  const response = await fetch(`${house.running.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'my-model@5', input: 'hi', background: true, stream: true }),
    signal: leave.signal,
  });
  const reader = response.body?.getReader();
  const first = Buffer.from((await reader?.read())?.value ?? []).toString();
  const id = /"id":"(resp_[\w-]+)"/.exec(first)?.[1] ?? '';
  leave.abort();
  const text = await (await get(house, `${id}?stream=true`)).text();
  expect(text).toMatch(/^event: response\.created/);
  expect(text).toContain('event: response.completed');
  expect(text).toContain('"model":"my-model@5"');
  await until(() => house.running.gateway.inFlight === 0);
  expect(leases(house)).toEqual([0]);
});

test('the gateway chooses the id, whatever the caller wrote', async () => {
  const house = await withSteps([5], [KEEPING]);
  const { id } = await create(house, { request_id: 'resp_mine' });
  expect(placeOf(id)).toEqual({ backend: 'gpu-0', from: 'my-model@5', to: 'my-model@5' });
});

test.each([
  ['of nobody', 'resp_nobody'],
  ['of an engine that is not here', answerId({ backend: 'gpu-9', from: 'a', to: 'a' })],
  ['that is no id', '%2e%2e%2fmodels'],
])('an id %s is 404, and nothing is forwarded', async (_, id) => {
  const house = await setUp({ engines: [KEEPING] });
  const before = house.sims[0]?.stats().requests;
  const response = await get(house, id);
  expect(response.status).toBe(404);
  expect(((await response.json()) as { error: { code: string } }).error.code).toBe('answer_not_found');
  expect(house.sims[0]?.stats().requests).toBe(before);
});

test('an id of an engine that has forgotten it, or is down, is answered so', async () => {
  const house = await withSteps([5], [KEEPING]);
  const { id } = await create(house);
  await house.sims[0]?.restart();
  const forgotten = await get(house, id);
  expect(forgotten.status).toBe(404);
  expect(await forgotten.text()).toContain(`Response with id '${id}' not found.`);
  house.sims[0]?.kill();
  await until(async () => (await get(house, id)).status === 503);
});

test('ids cannot be told from noise by their random part, and only whole ones are read', () => {
  const place = { backend: 'gpu-0', from: 'my-model@5-1a2b', to: 'my-model@5' };
  const ids = Array.from({ length: 100 }, () => answerId(place));
  expect(new Set(ids).size).toBe(100);
  for (const id of ids) expect(placeOf(id)).toEqual(place);
  for (const id of ['', 'resp_', ids[0]?.slice(0, 40), `x${ids[0]}`, `${ids[0]}/..`])
    expect(placeOf(id ?? '')).toBeUndefined();
});
