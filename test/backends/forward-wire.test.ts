// Promises of the streaming path about the wire itself: encodings, trailers, large heads, uploads, and connections that go stale.

import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { StepgateError } from '../../src/errors.ts';
import { echoOf } from '../../src/openai/echo.ts';
import { ask, caller, chunk, gateway, httpEngine, json, rawEngine, readUntil } from './forwarding.ts';

const RENAMED = () => ({ echo: echoOf({ from: 'my-model@5-1a2b', to: 'my-model@5' }) });

describe('an answer in a content-encoding', () => {
  const gzipped = json(200, 'not really gzip', 'content-encoding: gzip\r\n');

  test('passes untouched where the name is the same', async () => {
    const port = await rawEngine((socket) => socket.write(gzipped));
    const { port: at } = await gateway(port);
    const { headers, text } = await ask(at);
    expect({ encoding: headers['content-encoding'], text }).toEqual({ encoding: 'gzip', text: 'not really gzip' });
  });

  test('is refused where the name would have to be found in it: nobody reads a wrong name', async () => {
    const port = await rawEngine((socket) => socket.write(gzipped));
    const { port: at, ends } = await gateway(port, RENAMED());
    expect(await ask(at)).toMatchObject({ status: 599 });
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_error', started: false }]);
  });

  test('but identity is none', async () => {
    const answer = json(200, { model: 'my-model@5-1a2b' }, 'content-encoding: identity\r\n');
    const port = await rawEngine((socket) => socket.write(answer));
    const { port: at } = await gateway(port, RENAMED());
    expect((await ask(at)).text).toBe('{"model":"my-model@5"}');
  });
});

describe('heads and trailers', () => {
  test('trailers pass behind a chunked answer', async () => {
    const port = await rawEngine((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk('{}')}0\r\nx-usage: 7\r\n\r\n`),
    );
    const { port: at } = await gateway(port);
    expect(await readUntil(caller(at), '0\r\nx-usage: 7\r\n\r\n')).toContain('{}');
  });

  test('many headers, and large ones, pass in both directions', async () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-header-${i}`, `${i}`.repeat(20)]));
    const large = 'v'.repeat(5000);
    let seen: NodeJS.Dict<string | string[]> = {};
    const port = await httpEngine((incoming, outgoing) => {
      seen = incoming.headers;
      incoming.resume().on('end', () => outgoing.writeHead(200, { ...many, 'x-large': large }).end('{}'));
    });
    const { port: at } = await gateway(port);
    const { headers } = await ask(at, { ...many, 'x-large': large });
    expect(seen).toMatchObject({ ...many, 'x-large': large });
    expect(headers).toMatchObject({ ...many, 'x-large': large });
  });

  // A page of the gateway would keep to a service's rules for its own host; LoRAX tells callers a path on its machine.
  test('what an engine says of its own host, to pages, or of its files stays behind', async () => {
    const theirs = {
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'X-Request-ID',
      'alt-svc': 'h3=":443"; ma=86400',
      'strict-transport-security': 'max-age=31536000; includeSubDomains; preload',
      'x-adapter-id': '/data/adapters/x',
      'x-adapter-source': 'local',
    };
    const lines = Object.entries(theirs).map(([name, value]) => `${name}: ${value}\r\n`);
    const port = await rawEngine((socket) => socket.write(json(200, {}, lines.join(''))));
    const { port: at } = await gateway(port);
    const { headers } = await ask(at);
    for (const name of Object.keys(theirs)) expect(headers).not.toHaveProperty(name);
  });

  test('several cookies stay several', async () => {
    const port = await rawEngine((socket) => socket.write(json(200, {}, 'set-cookie: a=1\r\nset-cookie: b=2\r\n')));
    const { port: at } = await gateway(port);
    expect((await ask(at)).headers['set-cookie']).toEqual(['a=1', 'b=2']);
  });
});

describe('the rest of a body that is still on its way', () => {
  async function* pieces(...all: (string | Error)[]): AsyncGenerator<Buffer> {
    for (const piece of all) {
      if (piece instanceof Error) throw piece;
      yield Buffer.from(piece);
    }
  }

  test('follows the pieces', async () => {
    let body = '';
    const port = await httpEngine((incoming, outgoing) => {
      incoming.on('data', (bytes) => {
        body += bytes;
      });
      incoming.on('end', () => outgoing.end('{}'));
    });
    const { port: at } = await gateway(port, { rest: pieces(' and', ' so on') });
    expect((await ask(at, {}, '0123456789')).status).toBe(200);
    expect(body).toBe('0123456789 and so on');
  });

  test('ends the request with its own error when it fails, and the engine gets no whole body', async () => {
    const complete: boolean[] = [];
    const port = await httpEngine((incoming) => {
      incoming.resume().on('close', () => complete.push(incoming.complete));
    });
    const error = new StepgateError('body_too_large', 'too large');
    const { port: at, ends } = await gateway(port, { rest: pieces(' and', error) });
    await ask(at);
    expect(ends).toEqual([{ kind: 'failed', code: 'body_too_large', message: 'too large', started: false }]);
    await expect.poll(() => complete).toEqual([false]);
  });

  test('that ends because the caller left is no failure', async () => {
    const port = await httpEngine((incoming) => void incoming.resume());
    const { port: at, ended } = await gateway(port, {
      rest: pieces(' and', new StepgateError('client_closed', 'left')),
    });
    caller(at);
    expect(await ended).toEqual({ kind: 'left' });
  });
});

describe('a connection that the engine closes', () => {
  // The engine closes what was idle just as the next request is on its way: all that the caller's side sees is a close in place of an answer.
  test.each(['end', 'resetAndDestroy'] as const)(
    'just as a request comes (%s): it goes to another, and no caller notices',
    async (close) => {
      const served = new Set<Socket>();
      const IDLE = 5;
      let held: Socket[] | undefined = [];
      const port = await rawEngine((socket) => {
        if (served.has(socket)) return void socket[close]();
        served.add(socket);
        if (held === undefined) return void socket.write(json(200, {}));
        held.push(socket);
        if (held.length < IDLE) return;
        // Answered together, so that as many connections are idle together.
        for (const each of held) each.write(json(200, {}));
        held = undefined;
      });
      const { port: at, ends } = await gateway(port);
      await Promise.all(Array.from({ length: IDLE }, () => ask(at)));
      expect(await ask(at)).toMatchObject({ status: 200 });
      expect(served.size).toBe(IDLE + 1);
      expect(ends).toEqual(Array.from({ length: IDLE + 1 }, () => ({ kind: 'done', status: 200 })));
    },
  );

  test('with a request on it for longer: it is never sent again, for it may be what ended the engine', async () => {
    let requests = 0;
    const port = await rawEngine((socket) => {
      requests += 1;
      if (requests === 1) socket.write(json(200, {}));
      else setTimeout(() => socket.resetAndDestroy(), 200);
    });
    const { port: at, ends } = await gateway(port);
    await ask(at);
    await ask(at);
    expect(ends).toMatchObject([{ kind: 'done' }, { kind: 'failed', code: 'backend_error' }]);
    expect(requests).toBe(2);
  });

  test('at once, while it is new: that is the engine’s failure', async () => {
    let requests = 0;
    const port = await rawEngine((socket) => {
      requests += 1;
      socket.resetAndDestroy();
    });
    const { port: at, ends } = await gateway(port);
    await ask(at);
    expect(ends).toMatchObject([{ kind: 'failed', code: 'backend_error' }]);
    expect(requests).toBe(1);
  });
});

test('a caller keeps its connection over many answers', async () => {
  const port = await rawEngine((socket) => socket.write(json(200, {})));
  const { port: at } = await gateway(port);
  const client = caller(at);
  await readUntil(client, '{}');
  client.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}');
  expect(await readUntil(client, '{}')).toContain('HTTP/1.1 200');
});
