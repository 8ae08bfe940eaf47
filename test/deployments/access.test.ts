// Promise: a prediction is asked with a key, which may be in its body; nobody without one learns anything, and no key goes any further.
import { once } from 'node:events';
import { Agent, type ClientRequest, request as httpRequest } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { KeyRequest } from '../../src/access/keys.ts';
import { type House, until } from '../gateway/harness.ts';
import { houseWith, predict, refusal, sent } from './house.ts';

const keyIn = ({ running }: House, more: Partial<KeyRequest> = {}): string =>
  running.gateway.access.keys.create({ name: 'test', scopes: ['use'], models: ['*'], ...more }).key;

const request = { prompt: 'Hello' };

describe('a key', () => {
  test('counts in the body, in the URL and in each header; and none of it reaches the engine', async () => {
    const house = await houseWith();
    const key = keyIn(house);
    const asked = [
      { body: { accessKey: key, request } },
      { body: { request, accessKey: `Bearer ${key}` } },
      { body: { request }, headers: { authorization: `Bearer ${key}` } },
      { body: { request }, headers: { 'x-api-key': key } },
      // A platform's clients send a key of the platform's beside it.
      { body: { accessKey: key, request }, headers: { authorization: 'Bearer another-platform' } },
      { body: { accessKey: 'nonsense', request }, headers: { 'api-key': key } },
    ];
    for (const one of asked) {
      expect((await predict(house, 'support', one)).status, JSON.stringify(one.headers)).toBe(200);
      expect(JSON.stringify(house.sims[0]?.seen())).not.toMatch(/sg_|accessKey|nonsense|another-platform/);
    }
    const inUrl = await house.post(`/v1/deployments/support/predict?accessKey=${key}`, { request });
    expect([inUrl.status, sent(house).path]).toEqual([200, '/v1/completions']);
  });

  test.each<[string, unknown]>([
    ['nonsense', { accessKey: 'nonsense', request }],
    ['a number', { accessKey: 7, request }],
    ['nothing', { request }],
    ['a key in the wrong place', { request: { ...request, accessKey: 'sg_' } }],
    ['no JSON', '{"accessKey"'],
    ['an empty body', ''],
    ['too much', { accessKey: 'x', request: { prompt: 'x'.repeat(2 * 1024 * 1024) } }],
  ])(
    'that is %s is 401, in the callers’ shape, and in the same words whether or not there is such a deployment',
    async (_, body) => {
      const house = await houseWith();
      keyIn(house);
      const there = await predict(house, 'support', { body });
      expect(refusal(there)).toEqual([401, 'invalid_api_key', expect.stringContaining('needs a key that counts')]);
      expect(there.headers.get('www-authenticate')).toBe('Bearer');
      expect(refusal(await predict(house, 'nothing', { body }))).toEqual(refusal(there));
      expect(house.running.gateway.bodies.bytes).toBe(0);
      expect(house.sims[0]?.seen()?.body ?? '').not.toContain('Hello');
    },
  );

  test('without the scope is 403, over its rate 429, for other models 403 without a word of what there is', async () => {
    const house = await houseWith();
    const ask = (key: string, name = 'support') => predict(house, name, { body: { accessKey: key, request } });
    expect(refusal(await ask(keyIn(house, { scopes: ['publish'] }))).slice(0, 2)).toEqual([403, 'forbidden']);
    const slow = keyIn(house, { perMinute: 1 });
    expect((await ask(slow)).status).toBe(200);
    const second = await ask(slow);
    expect(refusal(second).slice(0, 2)).toEqual([429, 'rate_limited']);
    expect(second.headers.get('retry-after')).toMatch(/^\d+$/);

    const theirs = keyIn(house, { models: ['team-*'] });
    const words = (name: string) =>
      ask(theirs, name).then(({ body }) => body.errors?.[0]?.message.replaceAll(name, 'X'));
    expect(await words('support')).toBe(await words('nothing'));
    expect(refusal(await ask(theirs, 'team-x'))).toEqual([
      404,
      'deployment_not_found',
      expect.not.stringContaining('support'),
    ]);
  });

  test('for the deployment alone may ask it on every route, and not what it leads to', async () => {
    const house = await houseWith();
    const key = keyIn(house, { models: ['supp*'] });
    const headers = { authorization: `Bearer ${key}` };
    expect((await predict(house, 'support', { body: { accessKey: key, request } })).body.response?.model).toBe(
      'my-model@5',
    );
    const stepAlone = keyIn(house, { models: ['my-model'] });
    const refused = await predict(house, 'support', { body: { accessKey: stepAlone, request } });
    expect(refusal(refused).slice(0, 2)).toEqual([403, 'forbidden']);
    const chat = (model: string) => house.post('/v1/completions', { model, prompt: 'hi' }, headers);
    expect([(await chat('support')).status, (await chat('my-model@5')).status]).toEqual([200, 403]);
    const listed = await fetch(`${house.running.url}/v1/models`, { headers });
    expect(((await listed.json()) as { data: { id: string }[] }).data.map(({ id }) => id)).toEqual(['support']);
  });
});

test('a key that is for the deployment alone is not told what else there is, where its target is gone', async () => {
  const house = await houseWith();
  await house.admin('PUT', '/models/my-model/aliases/champion', { step: 5 });
  await house.admin('PATCH', '/deployments/support', { target: 'my-model@champion' });
  await house.admin('DELETE', '/models/my-model/aliases/champion');
  const headers = { authorization: `Bearer ${keyIn(house, { models: ['support'] })}` };
  const words = 'The deployment "support" leads to nothing that is there.';
  const predicted = refusal(await predict(house, 'support', { headers }));
  expect(predicted).toEqual([404, 'model_not_found', expect.stringContaining(words)]);
  const asked = await house.post('/v1/completions', { model: 'support', prompt: 'hi' }, headers);
  for (const text of [predicted.join(), await asked.text()]) expect(text).not.toMatch(/my-model|champion|base/);
});

test('strangers’ bodies have room of their own: while they fill it, a caller with a key in a header is served, and others may come again', async () => {
  const MIB = 1024 * 1024;
  const house = await houseWith({}, { config: { limits: { bufferedBytesMax: 2 * MIB, bodyBytesMax: 2 * MIB } } });
  const key = keyIn(house);
  const requests: ClientRequest[] = [];
  onTestFinished(() => {
    for (const one of requests) one.destroy();
  });
  /** A body of 1 MiB of which so much comes. */
  const begin = (bytes: number) => {
    const headers = { 'content-type': 'application/json', 'content-length': MIB };
    const url = `${house.running.url}/v1/deployments/support/predict`;
    const one = httpRequest(url, { method: 'POST', headers, agent: new Agent() }).on('error', () => {});
    requests.push(one);
    one.flushHeaders();
    one.write(`{"accessKey":"nobody","x":"${'x'.repeat(bytes)}`);
    return one;
  };
  for (let stranger = 0; stranger < 16; stranger++) begin(MIB - 100);
  await until(async () => {
    const answered = once(begin(1), 'response', { signal: AbortSignal.timeout(50) });
    return answered.then(([{ statusCode }]) => statusCode === 429).catch(() => false);
  });
  // Its key may well count: nobody has looked.
  const another = await predict(house, 'support', {
    body: { accessKey: key, request: { prompt: 'x'.repeat(MIB / 2) } },
  });
  expect(refusal(another)).toEqual([429, 'no_capacity', expect.stringContaining('send it again later')]);
  expect(another.headers.get('retry-after')).toMatch(/^\d+$/);
  const large = { request: { prompt: 'x'.repeat(MIB), max_new_tokens: 1 } };
  const known = await predict(house, 'support', { body: large, headers: { 'x-api-key': key } });
  // The engine finds it too long: it came through.
  expect(refusal(known)).toEqual([400, expect.any(String), expect.stringContaining('maximum context length')]);
  for (const one of requests) one.destroy();
  await until(() => house.running.gateway.bodies.bytes === 0);
});
