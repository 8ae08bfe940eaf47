// Each deadline of the config is real, on every path that it is for.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { enginePool } from '../../src/backends/pool.ts';
import { type House, setUp, until } from './harness.ts';

const LONG = { connectMs: 2000, loadMs: 60_000, firstTokenMs: 60_000, betweenChunksMs: 60_000, wholeMs: 60_000 };

const house = (deadlines: Partial<typeof LONG>, engine = {}) =>
  setUp({ engines: [engine], latest: 'published', config: { deadlines: { ...LONG, ...deadlines } } });

const tooSlow = { status: 504, code: 'deadline_exceeded' };

const nothingLeft = ({ running, sims }: House) =>
  until(() => running.gateway.inFlight === 0 && sims.every((sim) => sim.stats().running === 0));

const streamed = async ({ post }: House, more: object = {}): Promise<string> => {
  const body = { model: 'base', stream: true, messages: [{ role: 'user', content: 'hi' }], ...more };
  return (await post('/v1/chat/completions', body)).text();
};

test('connectMs: a connection that is taken and goes no further is no connection', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pool = enginePool(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { connectMs: 100 });
  onTestFinished(async () => {
    await pool.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await expect(pool.request({ origin: '', path: '/', method: 'GET' })).rejects.toMatchObject({
    code: 'UND_ERR_CONNECT_TIMEOUT',
  });
});

test('loadMs: a load that hangs is settled by what the engine lists, and asked for again', async () => {
  const it = await house({ loadMs: 100 });
  await it.write(10);
  it.sims[0]?.fault('load', { kind: 'hang' });
  expect(await it.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(it.sims[0]?.stats().loadCalls.get('my-model@10')).toBe(1);
});

test('firstTokenMs: a stream that does not begin', async () => {
  const it = await house({ firstTokenMs: 100 });
  it.sims[0]?.fault('inference', { kind: 'hang' });
  expect(await streamed(it)).toContain('"code":"deadline_exceeded"');
  await nothingLeft(it);
});

test('betweenChunksMs: a stream that stops in the middle', async () => {
  const it = await house({ betweenChunksMs: 100 });
  it.sims[0]?.fault('inference', { kind: 'stall', afterTokens: 2 });
  const text = await streamed(it);
  expect(text).toContain('"code":"deadline_exceeded"');
  expect(text).not.toContain('[DONE]');
  await nothingLeft(it);
});

test('wholeMs: a stream that goes on and on, and an answer that is not streamed', async () => {
  const it = await house({ wholeMs: 200 }, { tokenMs: 5, answerTokens: 10_000 });
  expect(await streamed(it)).toContain('"code":"deadline_exceeded"');
  expect(await it.ask('base')).toMatchObject(tooSlow);
  await nothingLeft(it);
});

test('wholeMs: an upload that its caller never ends, for which the engine is not blamed', async () => {
  const it = await house({ wholeMs: 200 });
  const part = (text: string) => new TextEncoder().encode(text);
  const body = new ReadableStream({
    start: (controller) =>
      controller.enqueue(
        part(
          '--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nbase\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        ),
      ),
  });
  const answer = await fetch(`${it.running.url}/v1/audio/transcriptions`, {
    ...{ method: 'POST', body, duplex: 'half' },
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
  } as RequestInit);
  expect(answer.status).toBe(504);
  await nothingLeft(it);
  expect(it.running.gateway.router.state.backends.values().next().value?.health.failures).toBe(0);
});

test('wholeMs: the slot of an answer in the background is free after it', async () => {
  const it = await house({ wholeMs: 300 }, { keepResponses: true, tokenMs: 20, answerTokens: 10_000 });
  const answer = await it.post('/v1/responses', { model: 'base', input: 'hi', background: true });
  expect(answer.status).toBe(200);
  expect(it.running.gateway.inFlight + (it.sims[0]?.stats().running ?? 0)).toBeGreaterThan(0);
  const leases = () => it.running.gateway.router.state.backends.values().next().value?.inFlight;
  expect(leases()).toBe(1);
  await until(() => leases() === 0);
});
