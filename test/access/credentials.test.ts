// The gateway's own credentials: TLS at the listeners, keys and authorities towards engines, and an admin listener that others could reach.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlain, type IncomingMessage } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import { Keys } from '../../src/access/keys.ts';
import { parseConfig } from '../../src/config.ts';
import { Database } from '../../src/registry/database.ts';
import { type Running, start } from '../../src/serve.ts';
import { startSim } from '../../src/sim/sim.ts';
import { makeCertificate } from './certificate.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function scratch(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'stepgate-access-'));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

async function serve(dir: string, yaml: string, variables: Record<string, string> = {}): Promise<Running> {
  const common = 'listen: 127.0.0.1:0\n';
  const config = parseConfig((yaml.includes('listen:') ? '' : common) + yaml, { file: join(dir, 'stepgate.yaml') });
  const running = await start(config, { log: pino({ level: 'silent' }), variable: (name) => variables[name] });
  cleanups.push(() => running.close({ now: true }));
  return running;
}

/** An engine behind TLS and a key, in front of a simulated one: it notes what was shown to it. */
async function engineWithKey(certificate: { cert: string; key: string } | undefined) {
  const sim = await startSim({});
  cleanups.push(() => sim.close());
  const shown = new Set<string>();
  const take = async (incoming: IncomingMessage, response: import('node:http').ServerResponse) => {
    shown.add(incoming.headers.authorization ?? 'none');
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = 'GET', url, headers } = incoming;
    const answer = await fetch(sim.url + url, {
      method,
      headers: { 'content-type': headers['content-type'] ?? 'application/json' },
      ...(method === 'POST' && { body: Buffer.concat(chunks) }),
    });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
    response.end(await answer.text());
  };
  const server = certificate === undefined ? createPlain(take) : createServer(certificate, take);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  cleanups.push(() => server.closeAllConnections());
  const scheme = certificate === undefined ? 'http' : 'https';
  return { url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, shown };
}

const ask = (url: string) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer the-callers-own' },
    body: JSON.stringify({ model: 'base', messages: [{ role: 'user', content: 'hi' }] }),
  });

describe('an engine', () => {
  test.each([
    ['a file', 'keyFile: engine.key', {}],
    ['the environment', 'keyEnv: ENGINE_KEY', { ENGINE_KEY: 'engines-own' }],
  ])("is shown its key from %s on every request, and never the caller's", async (_, line, variables) => {
    const { url, shown } = await engineWithKey(undefined);
    const dir = scratch({ 'engine.key': 'engines-own\n' });
    const running = await serve(dir, `admin: 127.0.0.1:0\nbackends: [{ name: a, url: "${url}", ${line} }]`, variables);
    expect((await ask(running.url)).status).toBe(200);
    expect([...shown]).toEqual(['Bearer engines-own']);
  });

  test('is believed by the authority that the config names, and without it is down', async () => {
    const certificate = makeCertificate();
    const { url } = await engineWithKey(certificate);
    const dir = scratch({ 'ca.pem': certificate.cert });
    const trusting = await serve(dir, `admin: 127.0.0.1:0\nbackends: [{ name: a, url: "${url}", caFile: ca.pem }]`);
    expect((await ask(trusting.url)).status).toBe(200);
    const doubting = await serve(dir, `admin: 127.0.0.1:0\ndata: b\nbackends: [{ name: a, url: "${url}" }]`);
    expect((await ask(doubting.url)).status).toBe(503);
  });

  test.each([
    ['no file', 'keyFile: nowhere', 'cannot read'],
    ['an empty file', 'keyFile: empty', 'is empty'],
    ['two words', 'keyFile: words', 'more than one word'],
    ['no variable', 'keyEnv: NOT_THERE', 'NOT_THERE is not set'],
    ['no certificate', 'caFile: words', 'holds no PEM certificate'],
  ])(
    'whose credentials are %s keeps the gateway from starting, with the setting and without what was read',
    async (...row) => {
      const [, line, says] = row;
      const dir = scratch({ empty: '\n', words: 'hush secret\n' });
      const started = serve(dir, `admin: 127.0.0.1:0\nbackends: [{ name: a, url: "http://127.0.0.1:9", ${line} }]`);
      const message = await started.then(
        () => 'started',
        (error: Error) => error.message,
      );
      expect(message).toContain(says);
      expect(message).toContain('backends (a)');
      expect(message).not.toContain('hush');
    },
  );
});

describe('a listener', () => {
  const get = (url: string, ca: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      request(url, { ca }, (response) => resolve(response.resume().statusCode))
        .once('error', reject)
        .end();
    });

  test('speaks TLS with the certificate of the config, and nothing else', async () => {
    const { cert, key } = makeCertificate();
    const dir = scratch({ 'a.crt': cert, 'a.key': key });
    const running = await serve(dir, 'admin: 127.0.0.1:0\ntls: { certFile: a.crt, keyFile: a.key }');
    expect(running.url).toMatch(/^https:/);
    expect(running.adminUrl).toMatch(/^http:/);
    expect(await get(`${running.url}/health`, cert)).toBe(200);
    await expect(fetch(`${running.url.replace('https', 'http')}/health`)).rejects.toThrow();
  });

  test('with a certificate that is none does not start', async () => {
    const dir = scratch({ 'a.crt': 'x', 'a.key': 'y' });
    await expect(serve(dir, 'admin: 127.0.0.1:0\ntls: { certFile: a.crt, keyFile: a.key }')).rejects.toThrow(/^tls: /);
  });

  test('for admins that others can reach waits for an admin key, and then asks for it', async () => {
    const dir = scratch({});
    await expect(serve(dir, 'admin: ":0"')).rejects.toThrow('no admin key');
    const rows = new Database({ file: join(dir, 'stepgate-data', 'registry.sqlite'), pathOf: () => '' });
    const keys = new Keys({ rows, nowMs: Date.now, onChange: () => {} });
    keys.create({ name: 'use', scopes: ['use'], models: ['*'] });
    const { key } = keys.create({ name: 'root', scopes: ['admin'], models: [] });
    rows.close();
    const running = await serve(dir, 'admin: ":0"');
    const url = `${running.adminUrl.replace('0.0.0.0', '127.0.0.1')}/admin/v1/backends`;
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(url, { headers: { 'x-api-key': key } })).status).toBe(200);
  });
});
