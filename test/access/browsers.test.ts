// Web pages at the listeners: no other name of the host, no other origin, unless the config says so.
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { setUp } from '../gateway/harness.ts';

interface Got {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** fetch sets Host and Origin itself. */
const ask = (url: string, headers: Record<string, string>, method = 'GET'): Promise<Got> =>
  new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      response.resume();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    sent.once('error', reject).end();
  });

describe('a page', () => {
  test.each(['listen', 'admin'] as const)('that leads a name of its own here reaches nothing (%s)', async (key) => {
    const { running } = await setUp();
    const url = key === 'listen' ? `${running.url}/v1/models` : `${running.adminUrl}/admin/v1/models`;
    for (const host of ['evil.example', 'evil.example:8080', 'localhost.evil.example', '127.0.0.1.evil.example'])
      expect((await ask(url, { host })).status, host).toBe(403);
    for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:8080', '[::1]:8080', '10.0.0.5', 'localhost.'])
      expect((await ask(url, { host })).status, host).toBe(200);
  });

  test('of another origin may not ask, one of the listener itself may; nothing is shared', async () => {
    const { running } = await setUp();
    const url = `${running.url}/v1/models`;
    for (const origin of ['https://evil.example', 'null', `${running.url}0`, 'http://localhost'])
      expect((await ask(url, { origin })).status, origin).toBe(403);
    const own = await ask(url, { origin: running.url });
    expect(own.status).toBe(200);
    expect(own.headers).not.toHaveProperty('access-control-allow-origin');
    const preflight = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    expect((await ask(url, preflight, 'OPTIONS')).status).toBe(403);
  });

  test('of an origin, or at a host, that the config names may; but not at the admin listener by its origin', async () => {
    const app = 'https://app.example';
    const { running } = await setUp({ config: { access: { hosts: ['gate.example'], origins: [app] } } });
    const url = `${running.url}/v1/models`;
    expect((await ask(url, { host: 'gate.example:443' })).status).toBe(200);
    const got = await ask(url, { origin: app });
    expect(got).toMatchObject({ status: 200, headers: { 'access-control-allow-origin': app, vary: 'origin' } });
    const preflight = {
      origin: app,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    };
    expect(await ask(url, preflight, 'OPTIONS')).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-headers': 'authorization,content-type' },
    });
    expect((await ask(`${running.adminUrl}/admin/v1/models`, { origin: app })).status).toBe(403);
  });
});
