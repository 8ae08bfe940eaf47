// Promise: a body is read whole under its limit; too much is refused before it is read, where its length is told.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { readBody } from '../../src/openai/read-body.ts';

const servers: ReturnType<typeof createServer>[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** A server that reads one body under `bytesMax`, and how that ended. */
async function reader(bytesMax: number) {
  const { promise, resolve } = Promise.withResolvers<Buffer | { code: string }>();
  const server = createServer((incoming, outgoing) => {
    readBody(incoming, bytesMax)
      .then(resolve, resolve)
      .then(() => outgoing.setHeader('connection', 'close').end());
  });
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, outcome: promise };
}

describe('readBody', () => {
  test.each([0, 1, 70_000, 1_000_000])('reads %i bytes as they were sent', async (length) => {
    const { port, outcome } = await reader(1_000_000);
    const sent = Buffer.alloc(length, 'abc');
    request({ port, method: 'POST' }).end(sent);
    expect(sent.equals((await outcome) as Buffer)).toBe(true);
  });

  test('a length over the limit is refused before a byte of the body has come', async () => {
    const { port, outcome } = await reader(10);
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n');
    expect(await outcome).toMatchObject({ code: 'body_too_large' });
    socket.destroy();
  });

  test('a chunked body is refused as soon as it is over the limit', async () => {
    const { port, outcome } = await reader(10);
    const sending = request({ port, method: 'POST' }).on('error', () => {});
    sending.write('12345');
    sending.write('678901');
    expect(await outcome).toMatchObject({ code: 'body_too_large' });
    sending.destroy();
  });

  test('a caller that leaves half-way is no body', async () => {
    const { port, outcome } = await reader(100);
    const socket = connect(port, '127.0.0.1');
    socket.end('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345');
    expect(await outcome).toMatchObject({ code: 'client_closed' });
  });
});
