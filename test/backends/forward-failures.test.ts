// Promises of the streaming path when the engine fails: what the caller reads, and what the gateway may still do.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { inFlight } from '../../src/backends/deadlines.ts';
import { ask, chunk, closing, gateway, json, NO_MODEL, rawEngine, SSE } from './forwarding.ts';

describe('an engine that fails before its answer', () => {
  test('no connection: refused, and nothing is written', async () => {
    const port = await rawEngine(() => {});
    await closing.splice(-1)[0]?.();
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({ status: 599, text: 'refused' });
    expect(ends).toEqual([{ kind: 'refused', message: expect.stringContaining('ECONNREFUSED') }]);
  });

  test('no connection the second time: failed, with the code for the caller', async () => {
    const port = await rawEngine(() => {});
    await closing.splice(-1)[0]?.();
    const { port: at, ends } = await gateway(port, { replayable: false });
    await ask(at);
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_unavailable', started: false }]);
  });

  test.each([
    ['a reset', (socket: Socket) => socket.resetAndDestroy()],
    ['an end', (socket: Socket) => socket.end()],
    ['garbage', (socket: Socket) => socket.end('hello?\r\n\r\n')],
    ['two framings', (socket: Socket) => socket.write(json(200, {}, 'transfer-encoding: chunked\r\n'))],
    ['two lengths', (socket: Socket) => socket.write(json(200, {}, 'content-length: 7\r\n'))],
    ['a head over 64 KiB', (socket: Socket) => socket.write(json(200, {}, `x-big: ${'x'.repeat(70_000)}\r\n`))],
  ])('%s in place of an answer is the backend’s failure', async (_, act) => {
    const port = await rawEngine(act);
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({ status: 599, text: 'failed' });
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_error', started: false }]);
  });

  test('a head of 10 KiB still passes', async () => {
    const port = await rawEngine((socket) => socket.write(json(200, {}, `x-big: ${'x'.repeat(10_000)}\r\n`)));
    const { port: at } = await gateway(port);
    expect((await ask(at)).headers['x-big']).toHaveLength(10_000);
  });

  test('silence ends at the deadline for the first token, and the engine is let go', async () => {
    const engine = Promise.withResolvers<Socket>();
    const port = await rawEngine((socket) => engine.resolve(socket));
    const { port: at, ends } = await gateway(port, {
      deadlines: { firstTokenMs: 200, betweenChunksMs: 5000, wholeMs: 5000 },
    });
    const closed = engine.promise.then((socket) => once(socket, 'close'));
    const askedAt = performance.now();
    await ask(at);
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(200);
    expect(performance.now() - askedAt).toBeLessThan(600);
    await closed;
    expect(ends).toMatchObject([
      { kind: 'failed', code: 'deadline_exceeded', started: false, message: expect.stringContaining('200 ms') },
    ]);
  });
});

describe('an adapter that the engine does not know', () => {
  test.each([
    ['nested', NO_MODEL],
    ['flat, as older versions say it', { object: 'error', ...NO_MODEL.error }],
  ])('is told as missing, and nothing is written (%s)', async (_, body) => {
    const port = await rawEngine((socket) => socket.write(json(404, body)));
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({ status: 599, text: 'missing' });
    expect(ends).toEqual([{ kind: 'missing', message: NO_MODEL.error.message, gone: false }]);
  });

  test('is the answer when it may not be sent again', async () => {
    const port = await rawEngine((socket) => socket.write(json(404, NO_MODEL)));
    const { port: at, ends } = await gateway(port, { replayable: false });
    expect(await ask(at)).toMatchObject({ status: 404, text: JSON.stringify(NO_MODEL) });
    expect(ends).toEqual([{ kind: 'done', status: 404 }]);
  });

  test.each([
    ['another 404', '{"detail":"Not Found"}'],
    ['one too long to be about a model', 'x'.repeat(200_000)],
    ['an empty one', ''],
  ])('is not mistaken for %s, which passes byte for byte', async (_, body) => {
    const port = await rawEngine((socket) => socket.write(json(404, body)));
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({
      status: 404,
      text: body,
      headers: { 'content-length': String(body.length) },
    });
    expect(ends).toEqual([{ kind: 'done', status: 404 }]);
  });
});

describe('an engine that fails in the middle of a stream', () => {
  const begun = `${SSE}${chunk('data: {"choices":[]}\n\n')}`;
  const errorIn = (text: string): unknown => JSON.parse(text.slice(text.lastIndexOf('data: ') + 6));

  test.each([
    ['a reset', (socket: Socket) => socket.write(begun, () => setImmediate(() => socket.resetAndDestroy()))],
    ['a truncation', (socket: Socket) => socket.end(begun)],
    ['a broken chunk', (socket: Socket) => socket.write(`${begun}zz\r\n`)],
  ])('%s ends in an error event, without [DONE]', async (_, act) => {
    const port = await rawEngine(act);
    const { port: at, ends } = await gateway(port);
    const { status, text, broken } = await ask(at);
    expect({ status, broken }).toEqual({ status: 200, broken: false });
    expect(text.startsWith('data: {"choices":[]}\n\ndata: {"error"')).toBe(true);
    expect(errorIn(text)).toMatchObject({ error: { type: 'server_error', code: 'backend_error', param: null } });
    expect(text).not.toContain('[DONE]');
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_error', started: true }]);
  });

  test('a stall ends at its deadline', async () => {
    const port = await rawEngine((socket) => socket.write(begun));
    const { port: at, ends } = await gateway(port, {
      deadlines: { firstTokenMs: 5000, betweenChunksMs: 200, wholeMs: 5000 },
    });
    expect(errorIn((await ask(at)).text)).toMatchObject({ error: { code: 'deadline_exceeded' } });
    expect(ends).toMatchObject([{ kind: 'failed', code: 'deadline_exceeded', started: true }]);
  });

  test('an endless stream ends at the deadline for the whole', async () => {
    const port = await rawEngine((socket) => {
      socket.write(SSE);
      const timer = setInterval(() => socket.write(chunk('data: 1\n\n')), 20);
      socket.on('close', () => clearInterval(timer));
    });
    const { port: at, ends } = await gateway(port, {
      deadlines: { firstTokenMs: 5000, betweenChunksMs: 5000, wholeMs: 300 },
    });
    await ask(at);
    expect(ends).toMatchObject([{ kind: 'failed', code: 'deadline_exceeded', started: true }]);
  });

  // Each event is a chunk of its own. LoRAX writes no space after "data:", and no [DONE]; a caller's own mistake comes in a stream too.
  const lorax = (kind: string) => `data:{"error":"Request failed","error_type":"${kind}"}\n\n`;
  const anthropic = (type: string) =>
    `event: error\ndata: {"type":"error","error":{"type":"${type}","message":"no"}}\n\n`;
  const [vllm, sglang] = ['{"error":{"message":"dead","code":500}}', '{"error": {"message": "too long", "code": 400}}'];
  test.each([
    ['vLLM', [`data: ${vllm}\n\n`, 'data: [DONE]\n\n'], 500],
    ['vLLM, in one piece', [`data: ${vllm}\n\ndata: [DONE]\n\n`], 500],
    ['SGLang', [`data: ${sglang}\n\n`, 'data: [DONE]\n\n'], 400],
    ['OpenAI', ['data: {"error": {"message": "sorry", "type": "server_error", "code": null}}\n\n'], 500],
    ['OpenAI, of its caller', ['data: {"error":{"message":"no","type":"invalid_request_error","code":null}}\n\n'], 400],
    ['Anthropic', [anthropic('internal_error')], 500],
    ['Anthropic, of its caller', [anthropic('invalid_request_error')], 400],
    ['responses', ['event: error\ndata: {"type": "error", "code": "server_error", "message": "sorry"}\n\n'], 500],
    ['LoRAX', [lorax('generation')], 424],
    ['LoRAX, of its caller', [lorax('validation')], 422],
    ['LoRAX, of itself', [lorax('incomplete_generation')], 500],
  ])('an error at the end of the stream passes as it came, and is how it ended: %s', async (_, events, status) => {
    const port = await rawEngine((socket) => socket.write(`${begun}${events.map(chunk).join('')}0\r\n\r\n`));
    const { port: at, ends } = await gateway(port);
    expect((await ask(at)).text).toBe(`data: {"choices":[]}\n\n${events.join('')}`);
    expect(ends).toEqual([{ kind: 'done', status }]);
  });

  test('what a model says is no error of the engine’s', async () => {
    const words = JSON.stringify({
      choices: [
        { text: 'data: {"error":"no"}', delta: { content: '\n\ndata: {"error":1}\n\ndata: {"type":"error"}' } },
      ],
    });
    const port = await rawEngine((socket) =>
      socket.write(`${begun}${chunk(`data: ${words}\n\n`)}${chunk('data: [DONE]\n\n')}0\r\n\r\n`),
    );
    const { port: at, ends } = await gateway(port);
    await ask(at);
    expect(ends).toEqual([{ kind: 'done', status: 200 }]);
  });

  test('an event cut in half is closed first, so that the error is an event of its own', async () => {
    const port = await rawEngine((socket) => socket.end(`${SSE}${chunk('data: {"cho')}`));
    const { port: at } = await gateway(port);
    expect((await ask(at)).text.startsWith('data: {"cho\n\ndata: {"error":')).toBe(true);
  });

  test('where events are typed, the error event is too', async () => {
    const port = await rawEngine((socket) => socket.end(begun));
    const { port: at } = await gateway(port, { typedEvents: true });
    expect((await ask(at)).text).toContain('\n\nevent: error\ndata: {"type":"error","error":{');
  });

  test('a JSON answer that is cut is broken off: it must not look complete', async () => {
    const port = await rawEngine((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"id":', () =>
        setTimeout(() => socket.destroy(), 20),
      ),
    );
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({ status: 200, broken: true });
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_error', started: true }]);
  });
});

describe('a stream that was held with comments', () => {
  test('goes on with the engine’s events', async () => {
    const port = await rawEngine((socket) => socket.write(`${SSE}${chunk('data: 1\n\n')}0\r\n\r\n`));
    const { port: at, ends } = await gateway(port, { hold: true });
    expect((await ask(at)).text).toBe(': loading\n\ndata: 1\n\n');
    expect(ends).toEqual([{ kind: 'done', status: 200 }]);
  });

  test.each([
    [400, { error: { message: 'max_tokens is too large', type: 'BadRequestError', param: null, code: 400 } }],
    [500, { object: 'error', message: 'max_tokens is too large', type: 'BadRequestError', param: null, code: 400 }],
  ])('ends with the engine’s %i as one event', async (status, body) => {
    const port = await rawEngine((socket) => socket.write(json(status, body)));
    const { port: at, ends } = await gateway(port, { hold: true });
    const error = { message: 'max_tokens is too large', type: 'BadRequestError', param: null, code: 400 };
    expect((await ask(at)).text).toBe(`: loading\n\ndata: ${JSON.stringify({ error })}\n\n`);
    expect(ends).toEqual([{ kind: 'done', status }]);
  });

  test('an engine that dies without a word leaves it to the gateway to say so', async () => {
    const port = await rawEngine((socket) => socket.destroy());
    const { port: at, ends } = await gateway(port, { hold: true });
    expect((await ask(at)).text).toBe(': loading\n\nunwritten');
    expect(ends).toMatchObject([{ kind: 'failed', started: false }]);
  });

  test('an adapter that is missing leaves it open for another try', async () => {
    const port = await rawEngine((socket) => socket.write(json(404, NO_MODEL)));
    const { port: at, ends, listenersLeft } = await gateway(port, { hold: true });
    expect((await ask(at)).text).toBe(': loading\n\nunwritten');
    expect(ends).toMatchObject([{ kind: 'missing' }]);
    // Nothing of the first try may act on the second.
    expect(listenersLeft).toEqual([0]);
    expect(inFlight()).toBe(0);
  });
});
