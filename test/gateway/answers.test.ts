// What a caller gets: the step it asked for, and the truth about which one answered.
import { expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { setUp, until, weightsOf } from './harness.ts';

test('my-model@5 is answered by the weights of step 5, and the answer says so', async () => {
  const house = await setUp();
  const five = await house.write(5);
  await house.write(10);
  const answer = await house.ask('my-model@5');
  expect(answer.status).toBe(200);
  expect(answer.model).toBe('my-model@5');
  expect(answer.text).toContain(`[my-model@5 sha:${await weightsOf(five)}]`);
  expect(answer.headers.get('x-stepgate-model')).toBe('my-model@5');
  expect(answer.headers.get('x-stepgate-backend')).toBe('gpu-0');
  expect(answer.headers.get('x-request-id')).toMatch(/^[\w-]{8,}$/);
});

test('more steps than slots: each answers with its own weights, and the reason for its placement', async () => {
  const house = await setUp({
    engines: [{}, {}],
    latest: 'published',
  });
  const steps = [10, 20, 30, 40, 50, 60];
  const weights = new Map<number, string>();
  for (const step of steps) {
    weights.set(step, await weightsOf(await house.write(step)));
  }
  const whys = [];
  for (const step of [...steps, ...steps.toReversed()]) {
    const answer = await house.ask(`my-model@${step}`);
    expect(answer.text).toContain(`[my-model@${step} sha:${weights.get(step)}]`);
    whys.push(answer.headers.get('x-stepgate-why'));
  }
  expect(whys).toEqual([...Array(4).fill('room'), 'evict', 'evict', ...Array(4).fill('resident'), 'evict', 'evict']);
  for (const sim of house.sims) expect(sim.stats().maxDistinctInFlight).toBeLessThanOrEqual(2);
});

test('a bare name and @latest lead to the newest step once an engine is warm with it; explicit steps never move', async () => {
  const house = await setUp();
  await house.write(10);
  await until(() => house.happenings.some((one) => one.type === 'promoted' && one.checkpoint === 'my-model@10'));
  expect((await house.ask('my-model')).model).toBe('my-model@10');
  await house.write(20);
  await until(() => house.happenings.some((one) => one.type === 'promoted' && one.checkpoint === 'my-model@20'));
  const answer = await house.ask('my-model@latest');
  expect(answer.model).toBe('my-model@20');
  expect(answer.headers.get('x-stepgate-why')).toBe('resident');
  expect((await house.ask('my-model@0010')).model).toBe('my-model@10');
});

test('the base answers under its own name', async () => {
  const house = await setUp();
  const answer = await house.ask('base');
  expect(answer.model).toBe('base');
  expect(answer.headers.get('x-stepgate-why')).toBe('base');
});

test('a step written again with other weights is served anew, under the same name, without stale words', async () => {
  const house = await setUp();
  const first = await house.write(5);
  const before = await weightsOf(first);
  expect((await house.ask('my-model@5')).text).toContain(before);
  await house.write(5, { seed: 99 });
  const after = await weightsOf(first);
  expect(after).not.toBe(before);
  await until(() => house.running.gateway.registry.catalog.find('my-model@5')?.revision === 2);
  const answer = await house.ask('my-model@5');
  expect(answer.model).toBe('my-model@5');
  expect(answer.text).toContain(after);
});

test('the OpenAI SDK streams, lists and retrieves', async () => {
  const house = await setUp({ engines: [{ maxModelLen: 4096 }] });
  await house.write(10);
  await house.write(20);
  const stream = await house.openai.chat.completions.create({
    model: 'my-model@10',
    messages: [{ role: 'user', content: 'hi' }],
    stream: true,
  });
  let text = '';
  for await (const chunk of stream) {
    expect(chunk.model).toBe('my-model@10');
    text += chunk.choices[0]?.delta.content ?? '';
  }
  expect(text).toContain('[my-model@10 sha:');

  const cards = (await house.openai.models.list()).data as unknown as {
    id: string;
    max_model_len: number;
    parent: string | null;
  }[];
  expect(cards.map(({ id }) => id)).toEqual(['base', 'my-model@10', 'my-model@20']);
  expect(cards.map((card) => card.max_model_len)).toEqual([4096, 4096, 4096]);
  expect(cards.map(({ parent }) => parent)).toEqual([null, 'base', 'base']);
  expect((await house.openai.models.retrieve('my-model@10')).id).toBe('my-model@10');
  expect((await house.openai.models.retrieve('my-model')).id).toMatch(/^my-model@/);
});

test('names with slashes resolve in bodies, and in paths literally and as %2F', async () => {
  const house = await setUp({ config: { models: { 'org/my-model': { watch: undefined } } } });
  const path = await writeCheckpoint({ dir: house.runs, step: 5 });
  await house.running.gateway.registry.register({ name: 'org/my-model@5', path });
  expect((await house.ask('org/my-model@5')).model).toBe('org/my-model@5');
  for (const id of ['org/my-model@5', 'org%2Fmy-model%405', 'org%2Fmy-model@5']) {
    const card = (await (await fetch(`${house.running.url}/v1/models/${id}`)).json()) as { id: string };
    expect(card.id).toBe('org/my-model@5');
  }
});

test.each([
  ['/v1/completions', { prompt: 'hi' }, 'my-model@10'],
  ['/v1/responses', { input: 'hi' }, 'my-model@10'],
  ['/v1/messages', { max_tokens: 8, messages: [{ role: 'user', content: 'hi' }] }, 'my-model@10'],
  ['/v1/embeddings', { input: 'hi' }, 'my-model@10'],
] as const)('%s says which step answered', async (path, body, model) => {
  const house = await setUp();
  await house.write(10);
  const response = await house.post(path, { model: 'my-model@10', ...body });
  expect(response.status).toBe(200);
  expect(((await response.json()) as { model: string }).model).toBe(model);
  expect(response.headers.get('x-stepgate-model')).toBe(model);
});

test.each([
  ['/v1/completions', { prompt: 'hi' }],
  ['/v1/responses', { input: 'hi' }],
  ['/v1/messages', { max_tokens: 8, messages: [{ role: 'user', content: 'hi' }] }],
] as const)('%s streams through to its end', async (path, body) => {
  const house = await setUp();
  await house.write(10);
  const response = await house.post(path, { model: 'my-model@10', stream: true, ...body });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const text = await response.text();
  expect(text).toContain('my-model@10');
  expect(text).toMatch(/\[DONE\]|message_stop|response\.completed/);
});

test('tokenize and detokenize mean the base where no model is named', async () => {
  const house = await setUp();
  const tokens = (await (await house.post('/tokenize', { prompt: 'hello' })).json()) as { tokens: number[] };
  expect(tokens.tokens.length).toBeGreaterThan(0);
  const text = (await (await house.post('/detokenize', { tokens: tokens.tokens })).json()) as { prompt: string };
  expect(text.prompt).toBe('hello');
});

test('health, readiness and metrics tell the state', async () => {
  const house = await setUp();
  await house.write(10);
  await house.ask('my-model@10');
  expect((await fetch(`${house.running.url}/health`)).status).toBe(200);
  const ready = await fetch(`${house.running.url}/ready`);
  expect(ready.status).toBe(200);
  const metrics = await (await fetch(`${house.running.url}/metrics`)).text();
  expect(metrics).toContain('stepgate_requests_total{route="/v1/chat/completions",code="ok"} 1');
  expect(metrics).toContain('stepgate_backend_up{backend="gpu-0"} 1');
  expect(metrics).toMatch(/stepgate_residency\{backend="gpu-0",state="ready"\} 1/);
  house.sims[0]?.kill();
  await until(async () => (await fetch(`${house.running.url}/ready`)).status === 503);
});
