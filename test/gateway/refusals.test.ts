// What bad input gets: a clear error at the right place, nothing forwarded, nothing lost.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, setUp, until } from './harness.ts';

const refusal = async (house: House, body: unknown, headers: Record<string, string> = {}) => {
  const response = await house.post('/v1/chat/completions', body, headers);
  const { error } = (await response.json()) as { error: { code: string; message: string; param: string | null } };
  return { status: response.status, ...error };
};

test('bodies that are not what they should be', async () => {
  const house = await setUp({ config: { limits: { bodyBytesMax: 1000 } } });
  const before = house.sims[0]?.stats().requests;
  expect(await refusal(house, 'no json')).toMatchObject({ status: 400, code: 'invalid_json' });
  expect(await refusal(house, '[1]')).toMatchObject({ status: 400, code: 'invalid_json' });
  expect(await refusal(house, {})).toMatchObject({ status: 400, code: 'model_required', param: 'model' });
  expect(await refusal(house, { model: 5 })).toMatchObject({ status: 400, code: 'invalid_request', param: 'model' });
  expect(await refusal(house, { model: 'base', pad: 'x'.repeat(1000) })).toMatchObject({
    status: 413,
    code: 'body_too_large',
  });
  expect(await refusal(house, '{}', { 'content-type': 'text/plain' })).toMatchObject({ status: 415 });
  expect(house.sims[0]?.stats().requests, 'nothing was forwarded').toBe(before);
});

test('a caller that is still sending a body that is too large gets to read why', async () => {
  const house = await setUp({ config: { limits: { bodyBytesMax: 1000 } } });
  const socket = connect(Number(new URL(house.running.url).port), '127.0.0.1');
  const bytes = 32 * 1024 * 1024;
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n`,
  );
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  const piece = Buffer.alloc(1024 * 1024, 'x');
  for (let sent = 0; sent < bytes; sent += piece.length) {
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  await until(() => text.includes('body_too_large'));
  socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await until(() => text.includes('HTTP/1.1 200'));
  socket.destroy();
});

test('an unknown model, an unknown step with its nearest, a deleted step, one that is not servable', async () => {
  const house = await setUp();
  for (const step of [10, 20, 30]) await house.write(step);
  await house.write(40, { flaw: 'dora' });
  expect(await house.ask('nobody')).toMatchObject({ status: 404, code: 'model_not_found' });
  const unknown = await house.ask('my-model@21');
  expect(unknown).toMatchObject({ status: 404, code: 'model_not_found' });
  expect(unknown.message).toContain('my-model@20');
  await expect(house.openai.models.retrieve('my-model@21')).rejects.toMatchObject({ status: 404 });
  const unservable = await house.ask('my-model@40');
  expect(unservable).toMatchObject({ status: 422, code: 'checkpoint_not_servable' });
  expect(unservable.message).toMatch(/DoRA/i);
  await fetch(`${house.running.adminUrl}/admin/v1/models/my-model/checkpoints/20`, { method: 'DELETE' });
  expect(await house.ask('my-model@20')).toMatchObject({ status: 410, code: 'checkpoint_deleted' });
});

test('a bare name where the policy forbids it', async () => {
  const house = await setUp({ latest: 'error' });
  expect(await house.ask('my-model')).toMatchObject({ status: 400, code: 'name_ambiguous' });
});

test('a class that does not exist is refused by name, and the header is not passed on to the engine', async () => {
  const house = await setUp();
  const refused = await refusal(house, { model: 'base', messages: [] }, { 'x-stepgate-class': 'urgent' });
  expect(refused).toMatchObject({ status: 400, code: 'invalid_request', param: 'x-stepgate-class' });
  expect(refused.message).toContain('interactive, rollout, eval');
  await house.post('/v1/completions', { model: 'base', prompt: 'hi' }, { 'x-stepgate-class': 'eval' });
  expect(house.sims[0]?.seen()?.headers).not.toHaveProperty('x-stepgate-class');
});

test('routes that do not exist, and methods that do not fit, are answered in the same shape', async () => {
  const house = await setUp();
  const unknown = await house.post('/v1/nothing', {});
  expect(unknown.status).toBe(404);
  expect(await unknown.json()).toMatchObject({ error: { code: 'route_not_found' } });
  const wrong = await fetch(`${house.running.url}/v1/completions`);
  expect(wrong.status).toBe(405);
  expect(wrong.headers.get('allow')).toBe('POST');
});

test.each([
  ['a base URL without /v1', '/chat/completions', 'write /v1/chat/completions ('],
  ['a base URL that is a whole route', '/v1/completions/completions', 'write /v1/completions ('],
  ['a base URL with /v1 twice', '/v1/v1/embeddings', 'write /v1/embeddings ('],
  ['the admin API at the wrong listener', '/admin/v1/backends', 'a listener of its own (`admin` in the config)'],
  ['what is nothing', '/v1/images/generations', 'docs/api.md lists them'],
])('%s is told where to go', async (_, path, words) => {
  const house = await setUp();
  const answer = await house.post(path, {});
  expect([answer.status, await answer.json()]).toEqual([
    404,
    { error: expect.objectContaining({ code: 'route_not_found', message: expect.stringContaining(words) }) },
  ]);
});

test('a model that is asked at the admin listener is told where models are asked', async () => {
  const { running } = await setUp();
  const answer = await fetch(`${running.adminUrl}/v1/chat/completions`, { method: 'POST', body: '{}' });
  expect(await answer.json()).toMatchObject({
    error: { code: 'route_not_found', message: expect.stringContaining(`models are asked at ${running.url}`) },
  });
});

test('headers over the limit: 431 in our own shape', async () => {
  const house = await setUp({ config: { limits: { headerBytesMax: 2000 } } });
  const socket = connect(Number(new URL(house.running.url).port), '127.0.0.1');
  socket.end(`GET /health HTTP/1.1\r\nhost: localhost\r\nbig: ${'x'.repeat(4000)}\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  expect(text).toContain('431');
  expect(text).toContain('headers_too_large');
});

test('a directory that is no checkpoint, and half-written weights, are refused with what is missing', async () => {
  const house = await setUp();
  const register = async (path: string) => {
    const response = await fetch(`${house.running.adminUrl}/admin/v1/models/other/checkpoints`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ step: 1, path }),
    });
    return {
      status: response.status,
      ...((await response.json()) as { error: { code: string; message: string } }).error,
    };
  };
  expect(await register(house.home)).toMatchObject({ status: 422, code: 'checkpoint_invalid' });
  expect(await register('/nowhere/at/all')).toMatchObject({ status: 422, code: 'checkpoint_invalid' });
  const half = await writeCheckpoint({ dir: `${house.home}/elsewhere`, step: 1, flaw: 'truncated' });
  expect(await register(half)).toMatchObject({ status: 422, code: 'checkpoint_invalid' });
  expect((await house.ask('other@1')).status).toBe(404);
});

test("an adapter that the engine refuses is 422 with the engine's reason, and does not make the engine suspect", async () => {
  const house = await setUp({ engines: [{ maxLoraRank: 8 }] });
  await house.write(10, { rank: 8 });
  await house.write(20, { rank: 32 });
  const refused = await house.ask('my-model@20');
  expect(refused).toMatchObject({ status: 422, code: 'checkpoint_not_servable' });
  expect(refused.message).toMatch(/rank 32/);
  expect((await house.ask('my-model@10')).status).toBe(200);
});

test('a backend that is not vLLM is down with the reason, and requests say that no engine is up', async () => {
  const web = createServer((_, response) => response.end('<html>hello</html>')).listen(0, '127.0.0.1');
  await once(web, 'listening');
  const address = web.address() as { port: number };
  try {
    const house = await setUp({ urls: [`http://127.0.0.1:${address.port}`] });
    await until(async () => (await fetch(`${house.running.url}/ready`)).status === 503);
    const body = (await (await fetch(`${house.running.url}/ready`)).json()) as { backends: { about: string }[] };
    expect(body.backends[0]?.about).toContain('not as vLLM does');
    expect(await house.ask('base')).toMatchObject({ status: 503, code: 'backend_unavailable' });
  } finally {
    web.closeAllConnections();
    web.close();
  }
});
