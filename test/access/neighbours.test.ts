// Who of this machine's users may use the admin API before there is an admin key.
import { once } from 'node:events';
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { userOf } from '../../src/access/neighbours.ts';
import { setUp } from '../gateway/harness.ts';

const NOBODY = 65_534;
const own = process.geteuid?.() ?? -1;
const open: (Socket | Server)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) 'destroy' in one ? one.destroy() : one.close();
});

/** Connected as that user: the kernel keeps the one that made the socket. Only root may become another. */
async function connectAs(user: number, to: NetConnectOpts): Promise<Socket> {
  process.seteuid?.(user);
  try {
    const socket = connect(to);
    open.push(socket);
    await once(socket, 'connect');
    return socket;
  } finally {
    process.seteuid?.(own);
  }
}

async function ask(socket: Socket, line: string, headers: Record<string, string> = {}): Promise<string> {
  const rest = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${rest.join('')}\r\n`);
  return text(socket);
}

describe.runIf(process.platform === 'linux')('the user at the other end', () => {
  test.each(['127.0.0.1', '127.0.0.5', '::1', '::ffff:127.0.0.1'])('of a connection to %s is known', async (host) => {
    const server = createServer();
    open.push(server.listen(0, '::'));
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const accepted = once(server, 'connection');
    const socket = connect({ host, port });
    open.push(socket);
    const [other] = (await accepted) as [Socket];
    open.push(other);
    expect(await userOf(other)).toBe(own);
    // The kernel would name root.
    socket.destroy();
    await once(other.resume(), 'end');
    expect(await userOf(other)).toBeUndefined();
  });
});

describe.runIf(own === 0)('another user of the machine', () => {
  const at = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) });

  test('is no admin while there is no key: starts no engine, makes no key', async () => {
    const { running } = await setUp();
    for (const line of ['GET /admin/v1/models', 'POST /admin/v1/keys', 'POST /admin/v1/engines', 'GET /nothing']) {
      const answer = await ask(await connectAs(NOBODY, at(running.adminUrl)), line);
      expect(answer, line).toMatch(/^HTTP\/1.1 403 /);
      expect(answer, line).toContain('for root alone (you are user 65534); have one of them make a key');
    }
    expect(running.gateway.access.keys.hasAny()).toBe(false);
    expect(await ask(await connectAs(own, at(running.adminUrl)), 'GET /admin/v1/models')).toMatch(/^HTTP\/1.1 200 /);
  });

  test('is not taken for one whose connection to another address has the same two ports', async () => {
    const listen = async (host: string, at = 0) => {
      const server = createServer().listen(at, host);
      open.push(server);
      await once(server, 'listening');
      return { server, port: (server.address() as { port: number }).port };
    };
    const first = await listen('127.0.0.1');
    const second = await listen('127.0.0.2', first.port);
    const local = await listen('127.0.0.3'); // a port that is free there, and then used by both
    local.server.close();
    const from = { localAddress: '127.0.0.3', localPort: local.port, port: first.port };
    const accepted = [first, second].map(({ server }) => once(server, 'connection') as Promise<[Socket]>);
    await connectAs(NOBODY, { ...from, host: '127.0.0.1' });
    await connectAs(own, { ...from, host: '127.0.0.2' });
    const sockets = (await Promise.all(accepted)).flat();
    open.push(...sockets);
    const users = await Promise.all(sockets.map(userOf));
    expect(users).toEqual([NOBODY, own]);
  });

  test('asks models, and with an admin key may what its scope says', async () => {
    const { running } = await setUp();
    expect(await ask(await connectAs(NOBODY, at(running.url)), 'GET /v1/models')).toMatch(/^HTTP\/1.1 200 /);
    const { key } = running.gateway.access.keys.create({ name: 'test', scopes: ['admin'], models: ['*'] });
    const asked = (headers: Record<string, string>) =>
      connectAs(NOBODY, at(running.adminUrl)).then((socket) => ask(socket, 'GET /admin/v1/models', headers));
    expect(await asked({ authorization: `Bearer ${key}` })).toMatch(/^HTTP\/1.1 200 /);
    expect(await asked({})).toMatch(/^HTTP\/1.1 401 /);
  });
});
