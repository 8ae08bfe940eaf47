// What the stand-ins of engines share: a raw server that ends with the test, answers of the OpenAI routes, and the troubles that any engine can have.
// What one kind says and does is in a file of its own, in that kind's words.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface Asked {
  /** `METHOD /path`. */
  readonly route: string;
  readonly text: string;
  /** Of equal keys the last counts, as in Python; {} for no body. */
  readonly json: Record<string, unknown>;
  readonly headers: IncomingHttpHeaders;
}

export interface Said {
  readonly status: number;
  readonly json: unknown;
}

/** What is wrong with it: it hangs, breaks off, speaks no HTTP of ours, or asks for a key that nobody has. */
export type Trouble = 'none' | 'hangs' | 'resets' | 'garbage' | 'key';

/** An engine as the conformance suite needs it. */
export interface Stand {
  readonly url: string;
  readonly asked: Asked[];
  trouble: Trouble;
  /** Loads, or what stands for one, are refused so from now on; undefined: no more. */
  refusal: Said | undefined;
  /** Another process in its place. */
  restart(): void | Promise<void>;
  /** Nobody listens any more. */
  die(): Promise<void>;
}

/** What computes answers nothing before its prefill is over; the server in front of it does. */
export interface Busy {
  readonly busy: { isInPrefill: boolean };
}

/** `answer` returns undefined where it has written for itself, or there is no such route; 'later' where it will write, or never does. */
export async function serve(
  answer: (asked: Asked, response: ServerResponse) => Said | 'later' | undefined,
  restart: () => void = () => {},
): Promise<Stand> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (stand.trouble === 'hangs') return;
      if (stand.trouble === 'resets') return request.socket.resetAndDestroy();
      if (stand.trouble === 'garbage') return response.end('<html>');
      if (stand.trouble === 'key') return send(response, { status: 401, json: { error: 'Unauthorized' } });
      const text = Buffer.concat(chunks).toString();
      const json = text === '' ? {} : JSON.parse(text);
      const one = { route: `${request.method} ${request.url}`, text, json, headers: request.headers };
      asked.push(one);
      const said = answer(one, response);
      if (said === 'later') return;
      if (said !== undefined) send(response, said);
      else if (!response.headersSent) send(response, { status: 404, json: { detail: 'Not Found' } });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const die = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  onTestFinished(die);
  const stand: Stand = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ asked, trouble: 'none', refusal: undefined, restart, die },
  };
  return stand;
}

const send = (response: ServerResponse, { status, json }: Said): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));

/** Which weights are in a directory: the start of their digest, as the simulated engine says it. Throws where there are none. */
export const weightsIn = (path: string): string =>
  createHash('sha256')
    .update(readFileSync(join(path, 'adapter_model.safetensors')))
    .digest('hex')
    .slice(0, 8);

/** An answer of /v1/chat/completions or /v1/completions that says these words, whole or as a stream; `model` as the engine names it. */
export function speak(
  { json, route }: Asked,
  response: ServerResponse,
  said: { words: string; model: string },
): undefined {
  const { words, model } = said;
  const isChat = route.endsWith('/chat/completions');
  const id = 'cmpl-1';
  const choice = (part: 'message' | 'delta') =>
    isChat ? { index: 0, [part]: { role: 'assistant', content: words } } : { index: 0, text: words };
  if (json.stream !== true) {
    send(response, { status: 200, json: { id, model, choices: [{ ...choice('message'), finish_reason: 'stop' }] } });
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = JSON.stringify({ id, model, choices: [choice('delta')] });
  // Cut within the model's name.
  const cut = event.indexOf('"model"') + 12;
  response.write(`data: ${event.slice(0, cut)}`);
  setImmediate(() => response.end(`${event.slice(cut)}\n\ndata: [DONE]\n\n`));
}
