// A caller of bare bytes, and what it gets: for requests that no client library would send, and for callers that stop in the middle.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Reply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export class BadClient {
  readonly socket: Socket;
  /** All that came, as latin1. */
  heard = '';
  /** The other side has closed the connection, or reset it. */
  closed = false;
  #news = Promise.withResolvers<void>();

  constructor(url: string) {
    this.socket = connect(Number(new URL(url).port), '127.0.0.1');
    const tell = () => {
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    };
    this.socket.setNoDelay(true).on('error', () => {});
    this.socket.on('data', (bytes) => {
      this.heard += bytes.toString('latin1');
      tell();
    });
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.closed = true;
        tell();
      });
    }
    onTestFinished(() => void this.socket.destroy());
  }

  send(bytes: string): this {
    this.socket.write(bytes, 'latin1');
    return this;
  }

  /** Resolves when it has heard this, or when the connection is closed. */
  async until(wanted: string | RegExp): Promise<string> {
    const isThere = () => (typeof wanted === 'string' ? this.heard.includes(wanted) : wanted.test(this.heard));
    while (!isThere() && !this.closed) await this.#news.promise;
    return this.heard;
  }

  async untilClosed(): Promise<string> {
    while (!this.closed) await this.#news.promise;
    return this.heard;
  }

  /** Stops reading: what comes stays in the kernel's buffers, then on the other side. */
  pause(): void {
    this.socket.pause();
  }

  leave(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** The whole answers so far, in order. Those with a content-length, or chunked. */
  get replies(): readonly Reply[] {
    return [...repliesIn(this.heard)];
  }
}

export const connected = async (client: BadClient): Promise<BadClient> => {
  if (client.socket.connecting) await once(client.socket, 'connect');
  return client;
};

function* repliesIn(bytes: string): Generator<Reply> {
  let at = 0;
  for (let headEnd = bytes.indexOf('\r\n\r\n'); headEnd >= 0; headEnd = bytes.indexOf('\r\n\r\n', at)) {
    const [line = '', ...fields] = bytes.slice(at, headEnd).split('\r\n');
    const headers = new Map(
      fields.map((field) => {
        const colon = field.indexOf(':');
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    );
    const start = headEnd + 4;
    const isChunked = headers.get('transfer-encoding') === 'chunked';
    const end = isChunked ? bytes.indexOf('0\r\n\r\n', start) + 5 : start + Number(headers.get('content-length') ?? 0);
    if (end < start || end > bytes.length) return;
    yield { status: Number(line.split(' ')[1]), headers, body: bytes.slice(start, end) };
    at = end;
  }
}

/** The bytes of a request; `fields` are lines without their ends. */
export const request = (line: string, fields: readonly string[], body = ''): string =>
  `${[`${line} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n${body}`;

export const chat = (model: string, more: object = {}): string =>
  JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], ...more });

/** A whole request for an answer. */
export const asking = (model: string, more: object = {}): string => {
  const body = chat(model, more);
  const fields = ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`];
  return request('POST /v1/chat/completions', fields, body);
};
