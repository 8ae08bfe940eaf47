// How it ends, as a process: SIGTERM and SIGINT let what is under way end, say no to what is new, and are bounded; a second one is at once.
// And SIGHUP. `stepgate serve` in a process of its own, in front of a simulated engine.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, get as httpGet } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { Database } from '../../src/registry/database.ts';
import { type Sim, startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { begin, type Run } from '../cli/run.ts';
import { rowsOf } from '../faults/row.ts';
import { until } from './harness.ts';

let home: string;
let sim: Sim;
let gateway: Run;
let url: string;
let admin: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-signals-'));
  sim = await startSim({ maxLoras: 1, loadMs: 5, firstTokenMs: 1, tokenMs: 20, answerTokens: 10_000 });
});

afterEach(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.ended;
  await sim.close();
  await rm(home, { recursive: true, force: true });
});

const file = () => join(home, 'gate.yaml');
const write = (more: Record<string, unknown> = {}) =>
  writeFile(
    file(),
    stringify({
      ...{ listen: '127.0.0.1:0', admin: '127.0.0.1:0', data: 'data', probe: { everyMs: 100 } },
      ...{ backends: [{ name: 'gpu-0', url: sim.url, slots: 1 }], models: { 'my-model': { latest: 'published' } } },
      ...more,
    }),
  );

async function serve(more: Record<string, unknown> = {}): Promise<void> {
  await write(more);
  gateway = begin(['serve', '--config', file()]);
  [, url = ''] = await gateway.says(/serves at (\S+)\/v1/);
  [, admin = ''] = await gateway.says(/admin +(\S+)/);
  for (const step of [1, 2]) {
    const path = await writeCheckpoint({ dir: home, step });
    await post('/v1/load_lora_adapter', { lora_name: `my-model@${step}`, lora_path: path });
  }
}

const post = (path: string, body: unknown, signal?: AbortSignal) =>
  fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });
const stream = (model: string, tokens: number, signal?: AbortSignal) =>
  post('/v1/completions', { model, prompt: 'hi', stream: true, max_tokens: tokens }, signal);
/** What the log says, as far as it has come. */
const logged = async (what: RegExp) => {
  const [line = ''] = await gateway.says(new RegExp(`.*"msg":"${what.source}.*`));
  return JSON.parse(line) as Record<string, unknown>;
};

const row = rowsOf('operations');

for (const [signal, fault] of [
  ['SIGTERM', 'SIGTERM while one streams and one waits'],
  ['SIGINT', 'SIGINT while one streams and one waits'],
] as const)
  row(
    {
      fault,
      required: 'both are answered whole, then it ends at once',
      mechanism: '`shutdown.ts`; `door.ts`',
    },
    async () => {
      await serve();
      const running = await stream('my-model@1', 150);
      // The only slot is taken: this one is held until the first has ended.
      const held = stream('my-model@2', 5);
      await until(async () => /stepgate_waiting 1/.test(await (await fetch(`${url}/metrics`)).text()));
      gateway.process.kill(signal);
      expect(await logged(/stopping: new requests/)).toMatchObject({ requests: 2, waiting: 1, graceMs: 600_000 });
      expect(await running.text()).toContain('data: [DONE]');
      expect(await (await held).text()).toContain('data: [DONE]');
      const endedAt = performance.now();
      const { code, out } = await gateway.ended;
      expect(code).toBe(0);
      expect(performance.now() - endedAt).toBeLessThan(2_000);
      expect(out).toContain('"msg":"stopped"');
      return `both end with [DONE]; exit code ${code}`;
    },
  );

row(
  {
    fault: 'requests come while it stops',
    required:
      'readiness says no first; 503 with Retry-After and connection: close, on old and new connections; idle ones are closed',
    mechanism: '`door.ts`',
  },
  async () => {
    await serve();
    const agent = new Agent({ keepAlive: true });
    const ask = (path: string) =>
      new Promise<{ status: number | undefined; headers: Record<string, unknown> }>((resolve, reject) => {
        const request = httpGet(`${url}${path}`, { agent }, (response) => {
          response.resume().once('end', () => resolve({ status: response.statusCode, headers: response.headers }));
        });
        request.once('error', reject);
      });
    expect((await ask('/ready')).status).toBe(200);
    const idle = Object.values(agent.freeSockets).flat()[0];
    const idleClosed = new Promise((resolve) => idle?.once('close', resolve));
    const caller = new AbortController();
    await stream('my-model@1', 10_000, caller.signal);
    gateway.process.kill('SIGTERM');
    await logged(/stopping: new requests/);
    await idleClosed;

    const ready = await fetch(`${url}/ready`);
    expect([ready.status, await ready.json()]).toMatchObject([503, { ready: false, stopping: true }]);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    for (const response of [await stream('my-model@1', 1), await fetch(`${url}/v1/models`)]) {
      expect([response.status, response.headers.get('retry-after'), response.headers.get('connection')]).toEqual([
        503,
        '2',
        'close',
      ]);
      expect(await response.json()).toMatchObject({ error: { code: 'shutting_down' } });
    }
    // Who runs it can still look.
    expect((await fetch(`${admin}/admin/v1/backends`)).status).toBe(200);
    caller.abort();
    expect((await gateway.ended).code).toBe(0);
    return `/ready ${ready.status}, others 503 shutting_down; the idle connection is closed`;
  },
);

row(
  {
    fault: 'it stops while callers have only connected, or never end their request',
    required: 'it ends all the same',
    mechanism: '`door.ts`: what is no request is not waited for',
  },
  async () => {
    await serve();
    const { port } = new URL(url);
    const silent = connect(Number(port), '127.0.0.1');
    const slow = connect(Number(port), '127.0.0.1', () => slow.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\n'));
    for (const socket of [silent, slow]) socket.on('error', () => {});
    await until(() => slow.bytesWritten > 0);
    gateway.process.kill('SIGTERM');
    const since = performance.now();
    expect((await gateway.ended).code).toBe(0);
    expect(performance.now() - since).toBeLessThan(5_000);
    return 'exit code 0';
  },
);

row(
  {
    fault: 'it stops, and a stream and one that waits do not end in `shutdown.graceMs`',
    required: 'told why, and cut; the engine’s request is closed',
    mechanism: '`shutdown.ts`',
  },
  async () => {
    await serve({ shutdown: { graceMs: 300 } });
    const running = await stream('my-model@1', 10_000);
    const held = post('/v1/completions', { model: 'my-model@2', prompt: 'hi' });
    await until(async () => /stepgate_waiting 1/.test(await (await fetch(`${url}/metrics`)).text()));
    gateway.process.kill('SIGTERM');
    const text = await running.text();
    expect(text).toMatch(/data: \{"error":\{"message":"the gateway is stopping.*"code":"shutting_down"\}\}\n\n$/);
    const refused = await held;
    expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: 'shutting_down' } }]);
    expect(await logged(/stopping: these have not ended/)).toMatchObject({ requests: 2, graceMs: 300 });
    expect((await gateway.ended).code).toBe(0);
    await until(() => sim.stats().running === 0);
    return `an error event shutting_down; ${refused.status} shutting_down; exit code 0`;
  },
);

row(
  {
    fault: 'a second signal',
    required: 'it ends at once, the code says so, and what was registered is there',
    mechanism: '`main.ts`; SQLite',
  },
  async () => {
    await serve();
    const running = await stream('my-model@1', 10_000);
    gateway.process.kill('SIGTERM');
    await logged(/stopping: new requests/);
    // A terminal and npm both pass one Ctrl-C on: what comes within half a second is the same wish.
    await new Promise((resolve) => setTimeout(resolve, 600));
    gateway.process.kill('SIGTERM');
    expect((await gateway.ended).code).toBe(143);
    await expect(running.text()).rejects.toThrow();
    const rows = new Database({ file: join(home, 'data', 'registry.sqlite'), pathOf: (digest) => digest });
    expect(rows.checkpoints().map(({ name }) => name)).toEqual(['my-model@1', 'my-model@2']);
    rows.close();
    return 'exit code 143; both checkpoints are there';
  },
);

test('SIGHUP while it starts ends nothing: the config is read anew as soon as it runs', async () => {
  // Who connects is never answered, so that the gateway waits for it.
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  await write({
    probe: { timeoutMs: 2_000 },
    backends: [
      { name: 'gpu-0', url: sim.url, slots: 1 },
      { name: 'gpu-1', url: `http://127.0.0.1:${port}`, slots: 1 },
    ],
  });
  gateway = begin(['serve', '--config', file()]);
  await logged(/backend up/);
  gateway.process.kill('SIGHUP');
  expect(await logged(/reloaded: nothing differs/)).toMatchObject({ who: 'SIGHUP' });
  await gateway.says(/serves at/);
  silent.close();
});

row(
  {
    fault: 'SIGHUP with something wrong in the config',
    required: 'refused whole with its line; the old one goes on; both are in the audit log',
    mechanism: '`reload.ts`; `admin/audit.ts`',
  },
  async () => {
    await serve();
    const before = await readFile(file(), 'utf8');
    await write({ limits: { bodyBytesMax: 100 } });
    gateway.process.kill('SIGHUP');
    expect(await logged(/reloaded"/)).toMatchObject({ who: 'SIGHUP', changed: ['limits.bodyBytesMax'] });
    expect((await post('/v1/completions', { model: 'my-model@1', prompt: 'x'.repeat(200) })).status).toBe(413);

    await writeFile(file(), `${before}limits: { queueMax: none }\n`);
    gateway.process.kill('SIGHUP');
    const { about } = (await logged(/reload refused/)) as { about: string };
    expect(about).toMatch(/gate\.yaml:\d+:\d+: limits\.queueMax/);
    expect((await post('/v1/completions', { model: 'my-model@1', prompt: 'x'.repeat(200) })).status).toBe(413);
    expect((await fetch(`${url}/ready`)).status).toBe(200);

    const audited = async () => (await (await fetch(`${admin}/admin/v1/audit`)).json()) as { data: unknown[] };
    await until(async () => (await audited()).data.length === 2);
    const bySignal = { who: 'SIGHUP', method: 'SIGNAL', path: '/admin/v1/reload', before: null };
    expect((await audited()).data).toMatchObject([
      {
        ...bySignal,
        status: 400,
        after: { error: { code: 'invalid_request', message: expect.stringContaining(about) } },
      },
      { ...bySignal, status: 200, after: { changes: [{ key: 'limits.bodyBytesMax', after: 100 }] } },
    ]);
    return 'refused with file, line and key; the old limits hold; the audit log has who: SIGHUP';
  },
);
