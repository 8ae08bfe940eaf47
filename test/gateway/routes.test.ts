// Every route of the table is forwarded to the engine as it is, under the engine's name for the model, and answered under the caller's.
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { ROUTES } from '../../src/openai/routes.ts';
import { JSON_BODIES, NOT_DONE, requestFor } from './bodies.ts';
import { type House, setUp } from './harness.ts';

/** A step whose name in engines is another than in requests. */
async function openHouse(): Promise<{ house: House; engineName: string }> {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  await house.write(5, { seed: 99 });
  await expect.poll(() => house.running.gateway.registry.catalog.find('my-model@5')?.revision).toBe(2);
  const engineName = String(house.running.gateway.registry.catalog.find('my-model@5')?.adapter?.id);
  expect(engineName).not.toBe('my-model@5');
  return { house, engineName };
}

test('there is a request for each JSON route of the table, and for no other', () => {
  const paths = ROUTES.filter(({ body }) => body === 'json').map(({ path }) => path);
  expect(Object.keys(JSON_BODIES).sort()).toEqual(paths.sort());
});

test('each route: the engine hears its own name for the step, the caller reads the one it asked for', async () => {
  const { house, engineName } = await openHouse();
  for (const route of ROUTES) {
    const response = await fetch(house.running.url + route.path, requestFor(route, 'my-model@5'));
    const text = await response.text();
    const seen = house.sims[0]?.seen();
    expect({ path: seen?.path, status: response.status }).toEqual({
      path: route.path,
      status: NOT_DONE[route.path] ?? 200,
    });
    expect(seen?.body, route.path).toContain(engineName);
    expect(text, route.path).not.toContain(`"model":"${engineName}"`);
    const { model } = JSON.parse(text) as { model?: string };
    expect(model ?? 'my-model@5', route.path).toBe('my-model@5');
    expect(response.headers.get('x-stepgate-model'), route.path).toBe('my-model@5');
  }
});

test.each(
  ROUTES.filter(({ path }) => /^\/v1\/(chat\/completions|completions|responses|messages|audio\/\w+)$/.test(path)),
)('$path streams to its end, every chunk under the name that was asked for', async (route) => {
  const { house, engineName } = await openHouse();
  const response = await fetch(house.running.url + route.path, requestFor(route, 'my-model@5', { stream: true }));
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const text = await response.text();
  expect(text).toMatch(/\[DONE\]|event: message_stop|event: response\.completed/);
  expect(text.match(/^event: /m) !== null).toBe(route.typedEvents);
  expect(text).not.toContain(`"model":"${engineName}"`);
  expect(text).toContain('"model":"my-model@5"');
});

test('several choices come each to its end, whole and in a stream', async () => {
  const { house } = await openHouse();
  const body = { model: 'my-model@5', messages: [{ role: 'user', content: 'hi' }], n: 3 };
  const whole = (await (await house.post('/v1/chat/completions', body)).json()) as { choices: { index: number }[] };
  expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
  const text = await (await house.post('/v1/chat/completions', { ...body, stream: true })).text();
  for (const index of [0, 1, 2]) expect(text).toMatch(new RegExp(`"index":${index}[^\\n]*"finish_reason":"stop"`));
});

test('a prompt of a megabyte of token ids arrives unchanged', async () => {
  const house = await setUp({ engines: [{ maxModelLen: 1_000_000 }], latest: 'published' });
  await house.write(5);
  const prompt = Array.from({ length: 180_000 }, (_, i) => 10_000 + (i % 80_000));
  const response = await house.post('/v1/completions', { prompt, max_tokens: 2, model: 'my-model@5' });
  expect(response.status).toBe(200);
  const { usage } = (await response.json()) as { usage: { prompt_tokens: number } };
  expect(usage.prompt_tokens).toBe(prompt.length);
  expect(JSON.parse(house.sims[0]?.seen()?.body ?? '')).toEqual({ prompt, max_tokens: 2, model: 'my-model@5' });
});

test.each([
  ['POST', '/v1/chat/completions/'],
  ['POST', '/v1/chat/completions/batches'],
  ['POST', '/V1/chat/completions'],
  ['POST', '/v1/chat%2Fcompletions'],
  ['POST', '//v1/chat/completions'],
  ['POST', '/invocations'],
  ['POST', '/v1/realtime'],
  ['POST', '/sleep'],
  ['POST', '/reset_prefix_cache'],
  ['POST', '/abort_requests'],
  ['POST', '/scale_elastic_ep'],
  ['GET', '/is_sleeping'],
  ['GET', '/v1/responses'],
  ['PUT', '/v1/chat/completions'],
  ['GET', '/tokenizer_info'],
] as const)('%s %s is no route: nothing is forwarded', async (method, path) => {
  const house = await setUp();
  const before = house.sims[0]?.stats().requests;
  const body = JSON.stringify({ model: 'base', messages: [] });
  const answer = await rawAsk(house, `${method} ${path}`, method === 'GET' ? '' : body);
  expect(answer).toMatch(/^HTTP\/1\.1 40[45] /);
  expect(house.sims[0]?.stats().requests).toBe(before);
});

test('a path that is written in a roundabout way reaches the engine as the route that it was taken for', async () => {
  const house = await setUp();
  const body = JSON.stringify({ model: 'base', messages: [] });
  expect(await rawAsk(house, 'POST /sleep/../v1/chat/completions', body)).toMatch(/^HTTP\/1\.1 200 /);
  expect(house.sims[0]?.seen()?.path).toBe('/v1/chat/completions');
});

/** Without a client that tidies the path. */
async function rawAsk(house: House, line: string, body: string): Promise<string> {
  const socket = connect(Number(new URL(house.running.url).port), '127.0.0.1');
  const head = `host: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  socket.write(`${line} HTTP/1.1\r\n${head}\r\n\r\n${body}`);
  let text = '';
  for await (const bytes of socket) text += bytes;
  return text;
}
