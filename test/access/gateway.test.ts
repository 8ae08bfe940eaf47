// Keys at the listeners of a whole gateway: who is let in, to what, and that the rest is refused.
import type { Hono } from 'hono';
import pino from 'pino';
import { describe, expect, test } from 'vitest';
import type { KeyRequest } from '../../src/access/keys.ts';
import { NEEDS } from '../../src/access/needs.ts';
import { createAdmin } from '../../src/admin.ts';
import { createApp } from '../../src/app.ts';
import type { Env } from '../../src/web.ts';
import { type House, setUp, until } from '../gateway/harness.ts';

const log = pino({ level: 'silent' });
const hello = { messages: [{ role: 'user', content: 'hi' }] };

/** Makes a key and gives the header that shows it. */
function keyIn({ running }: House, asked: Partial<KeyRequest> = {}): Record<string, string> {
  const { key } = running.gateway.access.keys.create({ name: 'test', scopes: ['use'], models: ['*'], ...asked });
  return { authorization: `Bearer ${key}` };
}

const chat = async (house: House, headers: Record<string, string>, more: Record<string, unknown> = {}) => {
  const response = await house.post('/v1/chat/completions', { model: 'base', ...hello, ...more }, headers);
  const body = (await response.json()) as { error?: { code: string; message: string } };
  return { status: response.status, code: body.error?.code, message: body.error?.message, headers: response.headers };
};

const get = (url: string, headers: Record<string, string> = {}, method = 'GET') => fetch(url, { method, headers });

describe('without a key', () => {
  test('all is open on this machine until one is made; from then on nothing but health and a bare readiness', async () => {
    const house = await setUp();
    const { url } = house.running;
    expect(await chat(house, {})).toMatchObject({ status: 200 });
    expect(await (await get(`${url}/ready`)).json()).toMatchObject({ ready: true, backends: [{ name: 'gpu-0' }] });
    const key = keyIn(house);
    const refused = await chat(house, {});
    expect(refused).toMatchObject({ status: 401, code: 'invalid_api_key' });
    expect(refused.headers.get('www-authenticate')).toBe('Bearer');
    expect((await get(`${url}/health`)).status).toBe(200);
    expect(await (await get(`${url}/ready`)).json()).toEqual({ ready: true, stopping: false });
    expect(await (await get(`${url}/ready`, key)).json()).toMatchObject({ backends: [{ name: 'gpu-0' }] });
    expect(await chat(house, key)).toMatchObject({ status: 200 });
  });

  test('nothing is open where others can reach the listener', async () => {
    const house = await setUp({ config: { listen: ':0', access: { metrics: 'open' } } });
    const url = house.running.url.replace('0.0.0.0', '127.0.0.1');
    expect((await get(`${url}/v1/models`)).status).toBe(401);
    expect((await get(`${url}/metrics`)).status).toBe(200);
    expect((await get(`${url}/v1/models`, keyIn(house))).status).toBe(200);
  });

  test('no route of either listener answers, but for those that the table opens; and the table has no other', async () => {
    const house = await setUp();
    const { gateway, url, adminUrl, reloads, engines } = house.running;
    keyIn(house, { scopes: ['admin'] });
    const seen = new Set<string>();
    const ask = async (app: Hono<Env>, base: string) => {
      for (const { method, path } of app.routes) {
        if (path === '/*') continue;
        const name = `${method} ${path}`;
        seen.add(name);
        const concrete = path.replace(/:(\w+)(\{[^}]*\})?/g, 'x');
        const response = await get(base + concrete, {}, method === 'ALL' ? 'PATCH' : method);
        await response.body?.cancel();
        const isOpen = base === url && NEEDS[name] === 'open';
        expect(response.status, name).toBe(isOpen ? 200 : 401);
      }
    };
    await ask(createApp(gateway, log), url);
    await ask(createAdmin(gateway, { reloads, engines, publicUrl: () => url }, log), adminUrl);
    expect(Object.keys(NEEDS).filter((name) => !seen.has(name))).toEqual([]);
    for (const path of ['/nothing', '/v1/../admin/v1/keys', '/%61dmin/v1/keys', '//v1/models', '/v1/models/'])
      expect((await get(url + path)).status, path).toBe(401);
  });
});

describe('a key', () => {
  test('is taken from each of the headers that clients send it in', async () => {
    const house = await setUp();
    const { authorization = '' } = keyIn(house);
    const bare = authorization.slice('Bearer '.length);
    for (const headers of [
      { authorization },
      { authorization: bare },
      { 'x-api-key': bare },
      { 'api-key': bare },
      { authorization: 'Bearer none', 'x-api-key': bare },
    ])
      expect(await chat(house, headers), JSON.stringify(Object.keys(headers))).toMatchObject({ status: 200 });
    for (const wrong of [`${authorization}x`, authorization.slice(0, -1), 'Bearer none', 'Bearer sg_0.x'])
      expect(await chat(house, { authorization: wrong })).toMatchObject({ status: 401, code: 'invalid_api_key' });
  });

  test("makes its requests one tenant's, and none of it reaches an engine", async () => {
    const house = await setUp();
    expect(await chat(house, keyIn(house), { stream: false })).toMatchObject({ status: 200 });
    const seen = house.sims[0]?.seen();
    expect(seen?.path).toBe('/v1/chat/completions');
    expect(JSON.stringify(seen)).not.toContain('sg_');
  });

  test('does what its scopes say and no more', async () => {
    const house = await setUp();
    const { url, adminUrl } = house.running;
    const path = await house.write(5);
    const [use, publish, admin] = (['use', 'publish', 'admin'] as const).map((scope) =>
      keyIn(house, { scopes: [scope], models: ['*'] }),
    );
    const load = (key: Record<string, string> | undefined, name: string) =>
      house.post('/v1/load_lora_adapter', { lora_name: name, lora_path: path }, key);
    const remove = (key: Record<string, string> | undefined) => get(`${url}/v1/models/other@1`, key, 'DELETE');
    const keys = (key: Record<string, string> | undefined) => get(`${adminUrl}/admin/v1/keys`, key);
    const status = async (response: Promise<Response>) => (await response).status;
    expect(await chat(house, publish ?? {})).toMatchObject({ status: 403, code: 'forbidden' });
    expect(await chat(house, admin ?? {})).toMatchObject({ status: 403, code: 'forbidden' });
    expect([await status(load(use, 'other@1')), await status(load(admin, 'other@1'))]).toEqual([403, 403]);
    expect(await status(load(publish, 'other@1'))).toBe(200);
    expect([await status(remove(use)), await status(remove(publish))]).toEqual([403, 200]);
    expect([await status(keys(use)), await status(keys(publish)), await status(keys(admin))]).toEqual([403, 403, 200]);
    expect(await status(keys(undefined))).toBe(401);
  });

  test('sees and touches the models of its patterns alone, and cannot tell whether there are others', async () => {
    const house = await setUp({ latest: 'published' });
    const { url } = house.running;
    await house.write(5);
    const path = await house.write(6);
    const mine = keyIn(house, { scopes: ['use', 'publish'], models: ['team-*', 'my-model'] });
    const theirs = keyIn(house, { scopes: ['use', 'publish'], models: ['team-*'] });
    for (const model of ['my-model@5', 'my-model'])
      expect(await chat(house, mine, { model })).toMatchObject({ status: 200 });
    const say = async (model: string) => {
      const { status, message } = await chat(house, theirs, { model });
      return { status, message: message?.replaceAll(model, 'X') };
    };
    const there = await say('my-model@5');
    expect(there.status).toBe(403);
    for (const other of ['my-model', 'my-model@7', 'my-model-v5', 'nobody@5', 'base'])
      expect(await say(other)).toEqual(there);
    const unknown = await chat(house, theirs, { model: 'team-new@5' });
    expect(unknown).toMatchObject({ status: 404, code: 'model_not_found' });
    expect(unknown.message).not.toContain('my-model');
    const names = async (key: Record<string, string>) =>
      ((await (await get(`${url}/v1/models`, key)).json()) as { data: { id: string }[] }).data.map(({ id }) => id);
    expect(await names(mine)).toEqual(['my-model@5', 'my-model@6']);
    expect(await names(theirs)).toEqual([]);
    const others = [
      get(`${url}/v1/models/my-model@5`, theirs),
      get(`${url}/v1/models/my-model@5`, theirs, 'DELETE'),
      get(`${url}/v1/fine_tuning/jobs/my-model/checkpoints`, theirs),
      house.post('/v1/load_lora_adapter', { lora_name: 'my-model@9', lora_path: path }, theirs),
      house.post('/v1/unload_lora_adapter', { lora_name: 'my-model@5' }, theirs),
      house.post('/tokenize', { prompt: 'hi' }, theirs),
    ];
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual(Array(others.length).fill(403));
    expect((await house.post('/v1/load_lora_adapter', { lora_name: 'team-a@1', lora_path: path }, theirs)).status).toBe(
      200,
    );
  });

  test('keeps an answer that an engine has from keys of other models', async () => {
    const house = await setUp();
    const key = keyIn(house);
    const made = (await (await house.post('/v1/responses', { model: 'base', input: 'hi' }, key)).json()) as {
      id: string;
    };
    const theirs = keyIn(house, { models: ['team-*'] });
    const url = `${house.running.url}/v1/responses/${made.id}`;
    expect((await get(url, theirs)).status).toBe(403);
    expect((await get(url, key)).status).not.toBe(403);
  });

  test('sets the class of its requests, and lets no more urgent one be named', async () => {
    const house = await setUp();
    const key = keyIn(house, { class: 'rollout' });
    const ask = (said: string) => chat(house, { ...key, 'x-stepgate-class': said });
    expect(await ask('interactive')).toMatchObject({ status: 403, code: 'forbidden' });
    expect(await ask('rollout')).toMatchObject({ status: 200 });
    expect(await ask('eval')).toMatchObject({ status: 200 });
    expect(await chat(house, key)).toMatchObject({ status: 200 });
  });

  test('sends as many a minute as it may, and is told when to come back', async () => {
    const house = await setUp();
    const key = keyIn(house, { perMinute: 2 });
    expect([(await chat(house, key)).status, (await chat(house, key)).status]).toEqual([200, 200]);
    const third = await chat(house, key);
    expect(third).toMatchObject({ status: 429, code: 'rate_limited' });
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThanOrEqual(29);
    expect(await chat(house, keyIn(house))).toMatchObject({ status: 200 });
  });

  test('has as many under way as it may, and again when one ends, also by its caller leaving', async () => {
    const house = await setUp({ engines: [{ firstTokenMs: 60_000 }] });
    const key = keyIn(house, { concurrentMax: 1 });
    const leaving = new AbortController();
    const first = fetch(`${house.running.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...key },
      body: JSON.stringify({ model: 'base', ...hello }),
      signal: leaving.signal,
    }).catch(() => undefined);
    await until(() => house.running.gateway.inFlight === 1);
    const second = await chat(house, key);
    expect(second).toMatchObject({ status: 429, code: 'rate_limited' });
    expect(second.headers.get('retry-after')).toBe('1');
    leaving.abort();
    await first;
    await until(() => house.running.gateway.inFlight === 0);
    const again = new AbortController();
    const third = fetch(`${house.running.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...key },
      body: JSON.stringify({ model: 'base', ...hello }),
      signal: again.signal,
    }).catch(() => undefined);
    await until(() => house.running.gateway.inFlight === 1);
    again.abort();
    await third;
  });

  test('that is rotated or revoked by the API is so from the next request on, and after a restart', async () => {
    const house = await setUp();
    const admin = keyIn(house, { scopes: ['admin'] });
    const api = async (method: string, path: string, body?: unknown) => {
      const response = await fetch(`${house.running.adminUrl}/admin/v1/keys${path}`, {
        method,
        headers: { ...admin, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: response.status, ...((await response.json()) as { id: string; key: string }) };
    };
    const made = await api('POST', '', { name: 'evals', scopes: ['use'], models: ['*'] });
    const of = ({ key }: { key: string }) => ({ authorization: `Bearer ${key}` });
    expect(made.status).toBe(201);
    expect(await chat(house, of(made))).toMatchObject({ status: 200 });
    const rotated = await api('POST', `/${made.id}/rotate`, { graceMs: 60_000 });
    expect([(await chat(house, of(made))).status, (await chat(house, of(rotated))).status]).toEqual([200, 200]);
    const bare = await api('POST', `/${made.id}/rotate`, { graceMs: 0 });
    expect([(await chat(house, of(rotated))).status, (await chat(house, of(bare))).status]).toEqual([401, 200]);
    const again = await house.restart();
    expect([(await chat(again, of(rotated))).status, (await chat(again, of(bare))).status]).toEqual([401, 200]);
    const removed = await fetch(`${again.running.adminUrl}/admin/v1/keys/${made.id}`, {
      method: 'DELETE',
      headers: admin,
    });
    expect(removed.status).toBe(200);
    expect(await chat(again, of(bare))).toMatchObject({ status: 401 });
  });
});
