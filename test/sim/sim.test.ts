// What the simulated engine promises beyond the suite that it shares with the real one: which weights answer, how it dies and comes back,
// and the faults that tests ask of it.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { reset } from '../../src/sim/reset.ts';
import { type Fault, type Sim, type SimOptions, startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { asked, EngineClient } from '../engine/client.ts';
import { until } from './until.ts';

let dir = '';
let sims: Sim[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'stepgate-sim-'));
});
afterEach(async () => {
  await Promise.all(sims.map((sim) => sim.close()));
  sims = [];
  await rm(dir, { recursive: true });
});

async function start(options: SimOptions = {}): Promise<{ sim: Sim; client: EngineClient }> {
  const sim = await startSim({ loadMs: 0, firstTokenMs: 0, tokenMs: 0, ...options });
  sims.push(sim);
  return { sim, client: new EngineClient(sim.url) };
}

const checkpoint = (step: number, seed = 0) => writeCheckpoint({ dir, step, seed, layers: 1, hidden: 16 });
const complete = (client: EngineClient, model: string) => client.post('/v1/completions', asked(model, 3));
const textOf = async (client: EngineClient, model: string): Promise<string> =>
  JSON.parse((await complete(client, model)).text).choices[0].text;

describe('which weights answered', () => {
  test('the answer begins with the name and the digest of the file', async () => {
    const { client } = await start();
    const path = await checkpoint(5);
    await client.load('my-model@5', path);
    const file = await readFile(join(path, 'adapter_model.safetensors'));
    const digest = createHash('sha256').update(file).digest('hex').slice(0, 8);
    expect(await textOf(client, 'my-model@5')).toMatch(`[my-model@5 sha:${digest}] `);
    expect(await textOf(client, 'base')).toMatch(/^\[base sha:[0-9a-f]{8}\] /);
  });

  test('a file that was overwritten is seen only when evicted weights are read again', async () => {
    const { sim, client } = await start({ maxLoras: 1, maxCpuLoras: 1 });
    await client.load('m@1', await checkpoint(1, 1));
    const before = await textOf(client, 'm@1');
    await checkpoint(1, 2);
    expect(await textOf(client, 'm@1')).toBe(before);
    await client.load('m@2', await checkpoint(2));
    expect(await textOf(client, 'm@1')).not.toBe(before);
    expect(sim.stats().rereads).toBe(1);
  });

  test('embeddings follow from the weights and echo the base', async () => {
    const { client } = await start();
    await client.load('m@1', await checkpoint(1));
    const ask = async (model: string) =>
      JSON.parse((await client.post('/v1/embeddings', { model, input: 'hello' })).text);
    const [adapter, base] = [await ask('m@1'), await ask('base')];
    expect(adapter.model).toBe('base');
    expect(adapter.data[0].embedding).toHaveLength(64);
    expect(adapter.data[0].embedding).not.toEqual(base.data[0].embedding);
  });
});

describe('death and return', () => {
  test('an engine whose files vanish dies at the next use after an eviction: 500, an error in open streams, then it refuses', async () => {
    const { client } = await start({ maxLoras: 1, maxCpuLoras: 1, tokenMs: 1 });
    const path = await checkpoint(1);
    const gone = join(dir, 'gone');
    await cp(path, gone, { recursive: true });
    await client.load('gone@1', gone);
    await client.load('m@1', path);
    await rm(gone, { recursive: true });
    const stream = await client.longStream('base', 10_000);
    await stream.until(2);

    const { status, text } = await complete(client, 'gone@1');
    expect(status).toBe(500);
    expect(JSON.parse(text).error.message).toMatch(/^EngineCore encountered an issue/);
    const data = await stream.end();
    expect(data.at(-1)).toBe('[DONE]');
    expect(data.at(-2)).toContain('EngineCore encountered an issue');
    await until('it refuses', () =>
      client.get('/health').then(
        ({ status }) => status !== 503,
        () => true,
      ),
    );
    await expect(client.get('/health')).rejects.toThrow();
  });

  test('a killed engine resets its streams and refuses; restarted it is another process without adapters', async () => {
    const { sim, client } = await start({ tokenMs: 1 });
    await client.load('m@1', await checkpoint(1));
    const startedAt = (await client.metric('process_start_time_seconds')) ?? 0;
    const stream = await client.longStream('m@1', 10_000);
    await stream.until(2);
    sim.kill();
    expect((await stream.end()).at(-1)).not.toBe('[DONE]');
    await expect(client.get('/health')).rejects.toThrow();

    await sim.restart();
    expect((await client.cards()).map(({ id }) => id)).toEqual(['base']);
    expect(await client.metric('process_start_time_seconds')).toBeGreaterThan(startedAt);
    expect((await complete(client, 'm@1')).status).toBe(404);
  });

  test('a connection is closed also when the process dies in the tick in which it was ended', async () => {
    const closed = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket.on('close', () => closed.resolve()).end('x');
      reset(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const caller = connect((server.address() as AddressInfo).port).on('error', () => {});
    await closed.promise; // Node left it open for ever
    caller.destroy();
    server.close();
  });

  test('one that only refused for a while has forgotten nothing', async () => {
    const { sim, client } = await start();
    await client.load('m@1', await checkpoint(1));
    sim.refuse();
    await expect(client.get('/health')).rejects.toThrow();
    await sim.accept();
    expect((await complete(client, 'm@1')).status).toBe(200);
  });

  test('without runtime LoRA the two routes do not exist', async () => {
    const { client } = await start({ runtimeLora: false });
    const { status, text } = await client.load('m@1', await checkpoint(1));
    expect({ status, body: JSON.parse(text) }).toEqual({ status: 404, body: { detail: 'Not Found' } });
  });
});

describe('time', () => {
  test('a load stalls all decoding', async () => {
    const { client } = await start({ tokenMs: 1, loadMs: 150 });
    const stream = await client.longStream('base', 10_000);
    await stream.until(3);
    const path = await checkpoint(1);
    const before = stream.data.length;
    const startedAt = performance.now();
    await client.load('m@1', path);
    const tookMs = performance.now() - startedAt;
    expect(tookMs).toBeGreaterThan(145);
    // Without the stall there would be a token for nearly every millisecond.
    expect(stream.data.length - before).toBeLessThan(50);
    stream.leave();
  });

  test('a load goes on when its caller has left', async () => {
    const { sim, client } = await start({ loadMs: 100 });
    const path = await checkpoint(1);
    const leaving = AbortSignal.timeout(20);
    const body = JSON.stringify({ lora_name: 'm@1', lora_path: path });
    const headers = { 'content-type': 'application/json' };
    const call = fetch(`${sim.url}/v1/load_lora_adapter`, { method: 'POST', headers, body, signal: leaving });
    await expect(call).rejects.toThrow();
    await until('it is loaded', () => sim.stats().adapters.has('m@1'));
    expect((await client.load('m@1', path)).status).toBe(400);
  });
});

describe('faults', () => {
  test('what arrived is told as it was sent, and what was in flight is counted', async () => {
    const { sim, client } = await start({ maxLoras: 2, tokenMs: 1 });
    for (const step of [1, 2, 3]) await client.load(`m@${step}`, await checkpoint(step));
    const streams = await Promise.all([1, 2, 3].map((step) => client.longStream(`m@${step}`, 10_000)));
    await until('two run and one waits', () => sim.stats().running === 2 && sim.stats().waiting === 1);
    expect(sim.stats()).toMatchObject({ loads: 3, requests: 3, maxDistinctInFlight: 3 });
    for (const stream of streams) stream.leave();
    await until('all left', () => sim.stats().aborted === 3);
    await client.post('/v1/completions', '{"prompt":"x",  "max_tokens":1}', { 'x-session-id': 's' });
    expect(sim.seen()).toMatchObject({
      path: '/v1/completions',
      body: '{"prompt":"x",  "max_tokens":1}',
      headers: { 'x-session-id': 's' },
    });
  });

  test('a load whose answer is lost has happened; one that hangs, resets or fails has not', async () => {
    const { sim, client } = await start();
    const path = await checkpoint(1);
    sim.fault('load', { kind: 'lost' });
    await expect(client.load('lost@1', path)).rejects.toThrow();
    sim.fault('load', { kind: 'reset' });
    await expect(client.load('reset@1', path)).rejects.toThrow();
    sim.fault('load', { kind: 'status', status: 503, body: { error: 'no' } });
    expect(await client.load('failed@1', path)).toMatchObject({ status: 503, text: '{"error":"no"}' });
    expect([...sim.stats().adapters.keys()]).toEqual(['lost@1']);
    expect(Object.fromEntries(sim.stats().loadCalls)).toEqual({ 'lost@1': 1 });
  });

  test('a fault lasts as many requests as asked, then all is well', async () => {
    const { sim, client } = await start();
    sim.fault('inference', { kind: 'status', status: 500 }, 2);
    const statuses = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await complete(client, 'base')).status);
    expect(statuses).toEqual([500, 500, 200]);
    sim.fault('inference', { kind: 'garbage' }, Number.POSITIVE_INFINITY);
    await expect(complete(client, 'base')).rejects.toThrow();
    sim.clearFaults();
    expect((await complete(client, 'base')).status).toBe(200);
  });

  test.each<{ fault: Fault; last: RegExp }>([
    { fault: { kind: 'cut', afterTokens: 2 }, last: /"finish_reason":null/ },
    { fault: { kind: 'end', afterTokens: 2 }, last: /"finish_reason":null/ },
    { fault: { kind: 'error', afterTokens: 2 }, last: /^\[DONE\]$/ },
  ])('in a stream: $fault.kind', async ({ fault, last }) => {
    const { sim, client } = await start();
    sim.fault('inference', fault);
    const stream = await client.longStream('base', 100);
    const data = await stream.end();
    expect(data.length).toBe(fault.kind === 'error' ? 4 : 2);
    expect(data.at(-1)).toMatch(last);
    await until('nothing is left in the engine', () => sim.stats().running === 0);
  });

  test('in a stream of /v1/messages, an error is an event of its kind, and the last', async () => {
    const { sim } = await start();
    sim.fault('inference', { kind: 'error', afterTokens: 2 });
    const body = { model: 'base', stream: true, max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] };
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${sim.url}/v1/messages`, { method: 'POST', headers, body: JSON.stringify(body) });
    expect(await response.text()).toMatch(/\nevent: error\ndata: \{"type":"error","error":\{.+\}\}\n\n$/);
  });

  test('a stream that stalls stays open and silent until its caller leaves', async () => {
    const { sim, client } = await start();
    sim.fault('inference', { kind: 'stall', afterTokens: 2 });
    const stream = await client.longStream('base', 10);
    await stream.until(2);
    await until('the engine has ended it', () => sim.stats().running === 0);
    expect(stream).toMatchObject({ ended: false, data: { length: 2 } });
    stream.leave();
  });

  test('an adapter that was forgotten is unknown', async () => {
    const { sim, client } = await start();
    await client.load('m@1', await checkpoint(1));
    sim.forget('m@1');
    expect((await complete(client, 'm@1')).status).toBe(404);
  });
});

test('a port that is taken is refused with its code', async () => {
  const { sim } = await start();
  await expect(startSim({ port: sim.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
