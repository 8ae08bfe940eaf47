// Carries out one request as its client would, well mannered or not, and says what was seen. It judges nothing.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { type Dispatcher, errors, Pool } from 'undici';
import { BASE } from './cast.ts';
import type { Seen } from './judge.ts';
import type { Secret } from './keys.ts';
import { type Good, type Nonsense, nameOf, type Request, ROUTES } from './requests.ts';

/** Long after every deadline of the gateway: what has not ended then never does. */
const UNENDED_MS = 40_000;
const SIP_MS = 2;
/** Over the gateway's `limits.bodyBytesMax`. */
export const BODY_BYTES_MAX = 65_536;

interface Sent {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  readonly body: string | null;
}

interface Sending {
  readonly id: string;
  readonly secret: Secret | undefined;
  readonly seen: Partial<Writable>;
  /** Aborted when it must be given up. */
  readonly given: AbortSignal;
}

export class Clients {
  readonly #pool: Pool;
  readonly #url: URL;

  constructor(url: string, connections: number) {
    this.#url = new URL(url);
    this.#pool = new Pool(url, {
      connections,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: 5_000 },
    });
  }

  /** `id`: what the request calls itself. */
  async send(
    request: Request,
    { id, secret }: { readonly id: string; readonly secret: Secret | undefined },
  ): Promise<Seen> {
    const sentAt = performance.now();
    const given = AbortSignal.timeout(UNENDED_MS);
    const seen: Partial<Writable> = { body: '' };
    try {
      seen.end = await this.#carryOut(request, { id, secret, seen, given });
    } catch (error) {
      seen.end = given.aborted ? 'unended' : 'broken';
      seen.about =
        error instanceof Error ? `${'code' in error ? error.code : error.name}: ${error.message}` : String(error);
    }
    return { ...NOTHING, ...seen, request, key: secret?.counts, sentAt, endedAt: performance.now() };
  }

  async #carryOut(request: Request, { id, secret, seen, given }: Sending): Promise<Seen['end']> {
    if (request.kind === 'nonsense' && request.what === 'noHttp') return await this.#sendNoHttp(seen);
    const leaving = new AbortController();
    const manner = request.kind === 'good' ? request.manner : 'reads';
    const { headers, ...sent } = request.kind === 'good' ? good(request) : nonsense(request);
    const answering = this.#pool.request({
      ...sent,
      headers: { ...headers, 'x-request-id': id, ...(secret && { authorization: `Bearer ${secret.text}` }) },
      signal: AbortSignal.any([given, leaving.signal]),
    });
    try {
      if (manner === 'leavesAtOnce') {
        answering.catch(() => {});
        await setImmediate();
        leaving.abort(new errors.RequestAbortedError());
      }
      const answer = await answering;
      readHead(answer, seen);
      if (manner === 'leavesAtHead') {
        answer.body.on('error', () => {});
        answer.body.destroy();
        return 'left';
      }
      return await read(answer, seen, manner);
    } catch (error) {
      if (leaving.signal.aborted) return 'left';
      throw error;
    }
  }

  /** Straight into a socket. */
  async #sendNoHttp(seen: Partial<Writable>): Promise<Seen['end']> {
    const socket = connect(Number(this.#url.port), this.#url.hostname);
    try {
      await once(socket, 'connect');
      socket.write('this is no HTTP\r\n\r\n');
      let text = '';
      for await (const chunk of socket) text += chunk;
      const [head = '', body = ''] = text.split('\r\n\r\n');
      seen.status = Number(head.split(' ')[1]);
      seen.type = /content-type: (\S+)/.exec(head)?.[1];
      seen.body = body;
      return 'whole';
    } finally {
      socket.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

type Writable = { -readonly [K in keyof Seen]: Seen[K] };

const NOTHING = {
  end: 'broken',
  status: undefined,
  model: undefined,
  retryAfter: undefined,
  type: undefined,
  body: '',
  about: '',
} as const;

function readHead({ statusCode, headers }: Dispatcher.ResponseData, seen: Partial<Writable>): void {
  const header = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  seen.status = statusCode;
  seen.model = header('x-stepgate-model');
  seen.retryAfter = header('retry-after');
  seen.type = header('content-type');
}

/** Leaves a stream in its midst, sips it, or takes it as it comes. */
async function read(
  { body, statusCode }: Dispatcher.ResponseData,
  seen: Partial<Writable>,
  manner: Good['manner'],
): Promise<Seen['end']> {
  const chunks: Buffer[] = [];
  try {
    if (manner === 'reads') chunks.push(Buffer.from(await body.bytes()));
    else {
      for await (const chunk of body) {
        chunks.push(chunk);
        if (manner === 'leavesInside' && statusCode === 200) return 'left';
        if (manner === 'sips') await setTimeout(SIP_MS);
      }
    }
    return 'whole';
  } finally {
    seen.body = Buffer.concat(chunks).toString('utf8');
  }
}

const JSON_TYPE = { 'content-type': 'application/json' };
const TEXT = 'What have you learnt?';

function good({ asked, route, stream, tokens, class: kind }: Good): Sent {
  const model = nameOf(asked, BASE);
  const messages = [{ role: 'user', content: TEXT }];
  const body = {
    chat: { model, messages, max_tokens: tokens },
    completions: { model, prompt: TEXT, max_tokens: tokens },
    messages: { model, messages, max_tokens: tokens },
    responses: { model, input: TEXT, max_output_tokens: tokens },
  }[route];
  return {
    path: ROUTES[route],
    method: 'POST',
    headers: { ...JSON_TYPE, ...(kind !== undefined && { 'x-stepgate-class': kind }) },
    body: JSON.stringify(stream ? { ...body, stream } : body),
  };
}

function nonsense({ what }: Nonsense): Sent {
  const post = (body: unknown, headers: Record<string, string> = {}): Sent => ({
    path: ROUTES.chat,
    method: 'POST',
    headers: { ...JSON_TYPE, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const messages = [{ role: 'user', content: TEXT }];
  switch (what) {
    case 'halfJson':
      return post('{"model":"pushed","messages":[');
    case 'noModel':
      return post({ messages });
    case 'emptyModel':
      return post({ model: '', messages });
    case 'unknownModel':
      return post({ model: 'nobody@1', messages });
    case 'stepToCome':
      return post({ model: 'pushed@999999999', messages });
    case 'bareOfMany':
      return post({ model: 'named', messages });
    case 'unknownRoute':
      return { ...post({ model: 'pushed', messages }), path: '/v1/nonsense' };
    case 'wrongMethod':
      return { path: ROUTES.chat, method: 'GET', headers: {}, body: null };
    case 'wrongClass':
      return post({ model: 'pushed', messages }, { 'x-stepgate-class': 'king' });
    case 'tooLarge':
      return post({ model: 'pushed', messages, padding: 'x'.repeat(BODY_BYTES_MAX) });
    case 'encoded':
      return post({ model: 'pushed', messages }, { 'content-encoding': 'gzip' });
    case 'noHttp':
      throw new Error('it is no request');
  }
}
