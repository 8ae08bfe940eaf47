// Promises of the streaming path when all goes well, with real sockets on both sides: what passes, how soon, and who is held back.

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { inFlight } from '../../src/backends/deadlines.ts';
import { echoOf } from '../../src/openai/echo.ts';
import { stopwatch } from '../gateway/harness.ts';
import { ask, caller, chunk, gateway, httpEngine, json, rawEngine, readUntil, SSE } from './forwarding.ts';

describe('an answer passes', () => {
  test('whole, with its status, its headers and ours, and without those of the connection', async () => {
    const port = await rawEngine((socket) =>
      socket.write(
        json(
          201,
          { id: 1 },
          'connection: keep-alive, x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\nx-request-id: theirs\r\nx-kept: yes\r\n',
        ),
      ),
    );
    const { port: at, ends } = await gateway(port);
    const { status, headers, text } = await ask(at);
    expect({ status, text }).toEqual({ status: 201, text: '{"id":1}' });
    expect(headers).toMatchObject({
      'content-length': '8',
      'x-kept': 'yes',
      'x-stepgate-model': 'my-model@5',
      'x-request-id': 'req-1',
    });
    expect(headers['x-private']).toBeUndefined();
    expect(ends).toEqual([{ kind: 'done', status: 201 }]);
  });

  test('the engine gets the body and the headers, but no credentials and nothing of the connection', async () => {
    let seen: IncomingMessage | undefined;
    let body = '';
    const port = await httpEngine((incoming, outgoing) => {
      seen = incoming;
      incoming.on('data', (bytes) => {
        body += bytes;
      });
      incoming.on('end', () => outgoing.end('{}'));
    });
    const { port: at } = await gateway(port);
    const dropped = {
      authorization: 'Bearer sg_secret',
      'x-api-key': 'sg_secret',
      cookie: 'a=b',
      'x-forwarded-for': '1.2.3.4',
      'x-private': '1',
      'accept-encoding': 'gzip',
      te: 'trailers',
      'keep-alive': 'timeout=5',
    };
    await ask(at, {
      ...dropped,
      connection: 'close, X-Private',
      'x-session-id': 's1',
      'content-type': 'application/json',
      'x-request-id': 'theirs',
    });
    expect(body).toBe('{"model":"my-model@5"}');
    expect(seen?.headers['accept-encoding']).toBe('identity');
    for (const name of Object.keys(dropped).filter((name) => name !== 'accept-encoding'))
      expect(seen?.headers).not.toHaveProperty(name);
    expect(seen?.headers).toMatchObject({
      'x-session-id': 's1',
      'content-type': 'application/json',
      'content-length': '22',
      'x-request-id': 'req-1',
      connection: 'keep-alive',
      host: `127.0.0.1:${port}`,
    });
  });

  test("an engine's 500 is its own words, and no failure of ours", async () => {
    const port = await rawEngine((socket) => socket.write(json(500, { error: { message: 'CUDA' } })));
    const { port: at, ends } = await gateway(port);
    expect(await ask(at)).toMatchObject({ status: 500, text: '{"error":{"message":"CUDA"}}' });
    expect(ends).toEqual([{ kind: 'done', status: 500 }]);
  });

  test('each event reaches the caller while the engine still thinks, the head before the first of them', async () => {
    const engine = Promise.withResolvers<Socket>();
    const port = await rawEngine((socket) => engine.resolve(socket));
    const { port: at, ends } = await gateway(port);
    const client = caller(at);
    (await engine.promise).write(SSE);
    expect(await readUntil(client, '\r\n\r\n')).toContain('text/event-stream');
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      (await engine.promise).write(chunk(event));
      await readUntil(client, event);
    }
    expect(ends).toEqual([]);
    (await engine.promise).write('0\r\n\r\n');
    await readUntil(client, '0\r\n\r\n');
    expect(ends).toEqual([{ kind: 'done', status: 200 }]);
  });

  test.each([
    ['whole', json(200, { model: 'my-model@5-1a2b', x: 1 })],
    ['in events', `${SSE}${chunk('data: {"model":"my-mod')}${chunk('el@5-1a2b","x":1}\n\n')}0\r\n\r\n`],
  ])('under the name that was asked for: %s', async (_, answer) => {
    const port = await rawEngine((socket) => socket.write(answer));
    const { port: at } = await gateway(port, { echo: echoOf({ from: 'my-model@5-1a2b', to: 'my-model@5' }) });
    const { text, headers } = await ask(at);
    expect(text).toContain('{"model":"my-model@5","x":1}');
    // The engine's length would be wrong.
    expect(headers['content-length']).toBeUndefined();
  });

  test('a connection is used again, but not when the engine is about to close it', async () => {
    const connections = new Set<Socket>();
    const port = await rawEngine((socket) => {
      connections.add(socket);
      socket.write(json(200, {}));
    });
    const { port: at } = await gateway(port);
    for (let i = 0; i < 3; i++) await ask(at);
    expect(connections.size).toBe(1);
    const [socket] = connections;
    if (socket === undefined) throw new Error('unreachable');
    // Idle for longer than the pool keeps it, shorter than vLLM does (5 s): the gateway is the one that closes.
    await once(socket, 'close', { signal: AbortSignal.timeout(4900) });
    expect((await ask(at)).status).toBe(200);
    expect(connections.size).toBe(2);
  });
});

describe('a slow reader', () => {
  test('holds the engine back: 100 MiB for a caller that does not read cost no memory', async () => {
    const total = 100 * 1024 * 1024;
    const piece = Buffer.alloc(64 * 1024, 'x');
    let written = 0;
    const stalled = Promise.withResolvers<void>();
    const port = await httpEngine((_, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      let quiet: NodeJS.Timeout | undefined;
      const pump = (): void => {
        clearTimeout(quiet);
        while (written < total) {
          written += piece.length;
          if (!outgoing.write(piece)) {
            // No drain for this long: everything between here and the caller is full.
            quiet = setTimeout(stalled.resolve, 300);
            return void outgoing.once('drain', pump);
          }
        }
        outgoing.end();
      };
      pump();
    });
    const { port: at, ended } = await gateway(port, {
      deadlines: { firstTokenMs: 5000, betweenChunksMs: 200, wholeMs: 30_000 },
    });
    const answer = await new Promise<IncomingMessage>((resolve) => {
      get({ port: at, host: '127.0.0.1', agent: false }, resolve);
    });
    const before = process.memoryUsage();
    await stalled.promise;
    const after = process.memoryUsage();
    // The kernel's socket buffers hold a part; what this process (caller, gateway and engine) holds is bounded.
    expect(written).toBeLessThan(total / 2);
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024);
    let read = 0;
    for await (const bytes of answer) read += (bytes as Buffer).length;
    expect(read).toBe(total);
    // A caller's pause longer than `betweenChunksMs` is not the engine's fault.
    expect(await ended).toEqual({ kind: 'done', status: 200 });
  });
});

describe('a caller that leaves', () => {
  test.each([
    ['before the head', ''],
    ['in the middle of the stream', `${SSE}${chunk('data: 1\n\n')}`],
  ])('%s: the engine sees its request closed within 100 ms, and it ends once', async (_, answer) => {
    const engine = Promise.withResolvers<Socket>();
    const port = await rawEngine((socket) => {
      if (answer !== '') socket.write(answer);
      engine.resolve(socket);
    });
    const { port: at, ends, ended } = await gateway(port);
    const client = caller(at);
    const socket = await engine.promise;
    if (answer !== '') await readUntil(client, 'data: 1');
    const closed = once(socket, 'close');
    const sinceLeft = stopwatch();
    client.destroy();
    await closed;
    expect(sinceLeft()).toBeLessThan(100);
    expect(await ended).toEqual({ kind: 'left' });
    expect(ends).toHaveLength(1);
    expect(inFlight()).toBe(0);
  });

  test('while it waits for a connection: its request never reaches the engine', async () => {
    const first = Promise.withResolvers<Socket>();
    const requests: string[] = [];
    const port = await rawEngine((socket, request) => {
      requests.push(request.slice(0, request.indexOf(' HTTP')));
      first.resolve(socket);
      if (requests.length > 1) socket.write(json(200, {}));
    });
    const { port: at, ended } = await gateway(port, { connections: 1 });
    const answered = ask(at);
    const socket = await first.promise;
    const client = caller(at, '/v1/left');
    // Its request has been handed on once a later one is: they queue in order.
    const after = ask(at);
    await expect.poll(() => inFlight(), { interval: 5 }).toBe(3);
    client.destroy();
    expect(await ended).toEqual({ kind: 'left' });
    socket.write(json(200, {}));
    expect([(await answered).status, (await after).status]).toEqual([200, 200]);
    expect(requests).toEqual(['POST /v1/chat/completions', 'POST /v1/chat/completions']);
  });
});
