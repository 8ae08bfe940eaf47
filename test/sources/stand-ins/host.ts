// A real HTTP server that plays a source: what all the stand-ins share. Serves bytes with ranges and ETags, remembers what it was asked, and
// breaks off where it is told to. Closed after the test.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';

export interface Seen {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export interface Host {
  readonly url: string;
  /** Name and port. */
  readonly host: string;
  readonly seen: Seen[];
  /** For each answer of more than a few bytes, in turn: after how many of them the connection ends, once they have arrived (`arrived`). */
  readonly cuts: number[];
  /** So much of a file, from its beginning, has arrived. */
  arrived(bytes: number): void;
  /** Bytes of files that were sent. */
  sent: number;
  /** While set, files are begun and not gone on with. */
  stalls: boolean;
  /** Ends every connection, in the middle of whatever is sent. */
  drop(): void;
}

export type Handler = (asked: {
  url: URL;
  request: IncomingMessage;
  response: ServerResponse;
  host: Host;
}) => void | Promise<void>;

export async function startHost(handler: Handler): Promise<Host> {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', host.url);
    host.seen.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    await handler({ url, request, response, host });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const host: Host = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    seen: [],
    cuts: [],
    arrived: () => {},
    sent: 0,
    stalls: false,
    drop: () => server.closeAllConnections(),
  };
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return host;
}

const SMALL_BYTES = 4_000;

export interface Sending {
  readonly bytes: Buffer;
  /** With its quotes; undefined: none is sent. */
  readonly etag: string | undefined;
  /** What it says of its length, where that is a lie. */
  readonly length?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** As a file server does (RFC 9110: Range, If-Range). */
export function send(
  host: Host,
  request: IncomingMessage,
  response: ServerResponse,
  { bytes, etag, length, headers }: Sending,
): void {
  const { range, 'if-range': ifRange } = request.headers;
  const [, from] = /^bytes=(\d+)-$/.exec(range ?? '') ?? [];
  const start = from === undefined || (ifRange !== undefined && ifRange !== etag) ? 0 : Number(from);
  const rest = bytes.subarray(start);
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': length ?? rest.length,
    'accept-ranges': 'bytes',
    ...(etag !== undefined && { etag }),
    ...(start > 0 && { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
    ...headers,
  });
  const isCut = rest.length > SMALL_BYTES;
  const cut = isCut ? host.cuts.shift() : undefined;
  const piece = isCut && host.stalls ? rest.subarray(0, SMALL_BYTES) : rest.subarray(0, cut);
  host.sent += piece.length;
  if (isCut && host.stalls) response.write(piece);
  else if (cut === undefined) response.end(piece);
  else if (cut === 0) response.socket?.end();
  else {
    response.write(piece);
    host.arrived = (bytes) => {
      if (bytes >= start + cut) response.socket?.end();
    };
  }
}

export const sendJson = (
  response: ServerResponse,
  body: unknown,
  status = 200,
  headers: Record<string, string> = {},
): void =>
  void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

export const sum = (algorithm: string, bytes: Buffer | string, encoding: 'hex' | 'base64' = 'hex'): string =>
  createHash(algorithm).update(bytes).digest(encoding);

/** Serves these files at any path that ends with their names. */
export const hostOf = (files: Record<string, Buffer>): Promise<Host> =>
  startHost(({ url, request, response, host }) => {
    const bytes = files[url.pathname.slice(url.pathname.lastIndexOf('/') + 1)];
    if (bytes === undefined) return void response.writeHead(404).end();
    send(host, request, response, { bytes, etag: `"${sum('sha1', bytes)}"` });
  });
