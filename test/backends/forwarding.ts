// What the tests of forward.ts stand on: engines of bare sockets that say exactly what a test wants, a gateway of `forward` alone, callers.
import { once } from 'node:events';
import {
  createServer as createHttp,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from 'node:net';
import { Pool } from 'undici';
import { afterEach } from 'vitest';
import { forward } from '../../src/backends/forward.ts';
import type { ForwardEnd, Forwarding } from '../../src/backends/forwarding.ts';
import { requestHeaders } from '../../src/backends/headers.ts';
import { enginePool } from '../../src/backends/pool.ts';
import { createVllmDriver } from '../../src/backends/vllm.ts';
import { readBody } from '../../src/openai/read-body.ts';

export const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** An engine that says exactly these bytes; `onSocket` is called with each connection once a request's head is there. */
export const rawEngine = (onSocket: (socket: Socket, request: string) => void): Promise<number> =>
  listening(createTcp((socket) => socket.on('data', (bytes) => onSocket(socket, bytes.toString()))));

export const httpEngine = (answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void): Promise<number> =>
  listening(createHttp(answer));

export const SSE = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
export const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
export const json = (status: number, value: unknown, more = ''): string => {
  const body = typeof value === 'string' ? value : JSON.stringify(value);
  return `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\n${more}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
};
export const NO_MODEL = {
  error: { message: 'The model `my-model@5` does not exist.', type: 'NotFoundError', param: 'model', code: 404 },
};

interface Options extends Partial<Omit<Forwarding, 'response' | 'dispatcher' | 'body' | 'headers'>> {
  /** The answer was begun before, as a stream held with a comment. */
  readonly hold?: boolean;
  /** Connections to the engine; any number when left out. */
  readonly connections?: number;
}

/** A gateway that forwards everything to the engine at `port`. `ends` are the ends, as they come; an unwritten answer gets 599. */
export async function gateway(enginePort: number, options: Options = {}) {
  const { hold = false, connections, deadlines, ...more } = options;
  const url = `http://127.0.0.1:${enginePort}`;
  const pool = connections === undefined ? enginePool(url, { connectMs: 2000 }) : new Pool(url, { connections });
  closing.push(() => pool.destroy());
  const ends: ForwardEnd[] = [];
  const listenersLeft: number[] = [];
  const started: Promise<void>[] = [];
  const ended = Promise.withResolvers<ForwardEnd>();
  const port = await listening(
    createHttp((incoming, outgoing) => {
      started.push(handle(incoming, outgoing));
    }),
  );
  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(incoming, 1e9);
    if (hold) response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': loading\n\n');
    const listenersBefore = response.listenerCount('close');
    const onEnd = (end: ForwardEnd): void => {
      listenersLeft.push(response.listenerCount('close') - listenersBefore);
      ends.push(end);
      ended.resolve(end);
      const written = end.kind === 'done' || end.kind === 'left' || (end.kind === 'failed' && end.started);
      if (!written) response.headersSent ? response.end('unwritten') : response.writeHead(599).end(end.kind);
    };
    forward(
      {
        dispatcher: pool,
        method: 'POST',
        path: incoming.url ?? '/',
        headers: requestHeaders(incoming.headers, 'req-1'),
        body: body.length > 8 ? [body.subarray(0, 4), body.subarray(4)] : [body],
        response,
        responseHeaders: { 'x-stepgate-model': 'my-model@5', 'x-request-id': 'req-1' },
        echo: undefined,
        replayable: true,
        unknownModel: createVllmDriver({ url, dispatcher: pool }).unknownModel,
        typedEvents: false,
        deadlines: { firstTokenMs: 5000, betweenChunksMs: 5000, wholeMs: 10_000, ...deadlines },
        ...more,
      },
      onEnd,
    );
  }
  return { port, ends, ended: ended.promise, listenersLeft };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The connection was broken before the answer was complete. */
  readonly broken: boolean;
}

export async function ask(
  port: number,
  headers: Record<string, string> = {},
  body = '{"model":"my-model@5"}',
): Promise<Answer> {
  const asking = httpRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/chat/completions',
    headers,
    agent: false,
  });
  asking.end(body);
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  let text = '';
  let broken = false;
  answer.setEncoding('utf8').on('data', (more) => {
    text += more;
  });
  await new Promise<void>((resolve) => {
    answer.on('error', () => {
      broken = true;
    });
    answer.on('close', resolve);
  });
  return { status: answer.statusCode ?? 0, headers: answer.headers, text, broken };
}

/** A caller's bare connection with one request on its way. */
export function caller(port: number, path = '/v1/chat/completions'): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  closing.push(() => socket.destroy());
  socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}`);
  return socket;
}

export async function readUntil(socket: Socket, wanted: string): Promise<string> {
  let text = '';
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
    text += bytes;
    if (text.includes(wanted)) return text;
  }
  throw new Error(`closed before ${JSON.stringify(wanted)}: ${JSON.stringify(text)}`);
}
