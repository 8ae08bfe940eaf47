// An engine with a fixed capacity: so many requests at once, each for a drawn time, and a line for the others. It generates nothing, so that what
// is measured is waiting. Answers a gateway's questions as vLLM would, for one base.
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Random } from '../../test/random.ts';

export interface Capacity {
  /** Requests at once. */
  readonly places: number;
  /** The mean time of one, ms; each takes from 3/4 to 5/4 of it. */
  readonly serviceMs: number;
}

export interface Engine {
  readonly url: string;
  close(): void;
}

const BASE = 'base';
const ANSWERS: Readonly<Record<string, string>> = {
  '/v1/models': JSON.stringify({ object: 'list', data: [{ id: BASE, object: 'model', root: BASE, parent: null }] }),
  '/version': '{"version":"0.0.0"}',
};
const COMPLETION = JSON.stringify({ id: 'cmpl-0', object: 'text_completion', model: BASE, choices: [{ text: 'x' }] });

export async function openEngine({ places, serviceMs }: Capacity, random: Random): Promise<Engine> {
  const line: ServerResponse[] = [];
  let busy = 0;
  const serve = (response: ServerResponse) => {
    busy++;
    const end = () => {
      busy--;
      response.setHeader('content-type', 'application/json').end(COMPLETION);
      const next = line.shift();
      if (next !== undefined) serve(next);
    };
    setTimeout(end, serviceMs * (0.75 + random.next() / 2));
  };
  const server = createServer((incoming, response) => {
    if (incoming.method === 'GET') return void response.end(ANSWERS[incoming.url ?? ''] ?? '');
    incoming.resume();
    if (busy < places) serve(response);
    else line.push(response);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => server.close().closeAllConnections();
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}
