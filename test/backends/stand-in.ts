// A raw HTTP server that answers what a test tells it to, so that quirks are tested in the engine's own words and not in our copy of it.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** `text` is sent as it is; `json` as JSON; a function does what it likes with the response. */
export type Reply =
  | { readonly status?: number; readonly json: unknown }
  | { readonly status?: number; readonly text: string; readonly type?: string }
  | ((response: ServerResponse, request: IncomingMessage) => void);

export interface StandIn {
  readonly url: string;
  /** `METHOD /path` -> what to answer; may be changed while it serves. Anything else is FastAPI's 404. */
  readonly routes: Map<string, Reply>;
  /** Every request, oldest first: `METHOD /path` and its body. */
  readonly asked: { readonly route: string; readonly body: string }[];
  /** Refuses from now on; idle connections are closed when it resolves. */
  close(): Promise<void>;
}

/** Serves until the test is over. */
export async function standIn(routes: Record<string, Reply>): Promise<StandIn> {
  const table = new Map(Object.entries(routes));
  const asked: { route: string; body: string }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const route = `${request.method} ${request.url}`;
      asked.push({ route, body: Buffer.concat(chunks).toString() });
      send(table.get(route) ?? { status: 404, json: { detail: 'Not Found' } }, response, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  onTestFinished(close);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, routes: table, asked, close };
}

function send(reply: Reply, response: ServerResponse, request: IncomingMessage): void {
  if (typeof reply === 'function') return reply(response, request);
  const [text, type] = 'json' in reply ? [JSON.stringify(reply.json), 'application/json'] : [reply.text, reply.type];
  response.writeHead(reply.status ?? 200, type === undefined ? {} : { 'content-type': type }).end(text);
}

/** A port that nobody listens on any more. */
export async function deadUrl(): Promise<string> {
  const { url, close } = await standIn({});
  await close();
  return url;
}
