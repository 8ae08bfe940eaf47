// What a listener takes for a request at all: how long a head and a body may take to come, and no request that two readers could understand in
// two ways (RFC 9112 11.2: request smuggling). Comes before everything else; it must not know routes, callers or models.
import type { IncomingMessage, ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Config } from './config.ts';
import { StepgateError } from './errors.ts';
import { errorBody, sendError } from './openai/error-body.ts';

/** An idle connection is kept longer than load balancers do. */
const KEEP_ALIVE_MS = 65_000;
const CHECK_EVERY_MS_MAX = 1_000;
const LINGER_MS = 1_000;

/** Node's own limits are minutes. What is too slow is closed one look later at most: before twice its limit. */
export function serverOptions({ limits }: Config): ServerOptions {
  const { headMsMax, bodyMsMax, waitMsMax, headerBytesMax } = limits;
  return {
    headersTimeout: headMsMax,
    // An upload is not read while it waits for its adapter.
    requestTimeout: headMsMax + waitMsMax + bodyMsMax,
    connectionsCheckingInterval: Math.min(CHECK_EVERY_MS_MAX, Math.ceil(headMsMax / 4)),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: headerBytesMax,
    // Else the second Host, Authorization or Content-Type would be dropped without a word; joined, they are refused where they are read.
    joinDuplicateHeaders: true,
    // Refused below, in our own words.
    requireHostHeader: false,
  };
}

/**
 * Node counts the time of a head from its first byte: a connection that never sends one would be kept until `requestTimeout`. A timer per connection, none
 * per request.
 */
export const closeSilent =
  ({ limits: { headMsMax } }: Config) =>
  (socket: Socket): void => {
    setTimeout(() => socket.bytesRead === 0 && socket.destroy(), headMsMax).unref();
  };

/** Connections on which a request was refused here: whatever stands behind it is not what its sender meant. */
const refused = new WeakSet<Socket>();

/** False: it is answered, and its connection is closed. llhttp has refused most of what is ambiguous before; the rest is told by `ambiguity`. */
export function isPlain(incoming: IncomingMessage, response: ServerResponse): boolean {
  if (refused.has(incoming.socket)) return false;
  const error = ambiguity(incoming);
  if (error === undefined) return true;
  refused.add(incoming.socket);
  sendError(response, error, { headers: { connection: 'close' } });
  incoming.resume();
  return false;
}

function ambiguity(incoming: IncomingMessage): StepgateError | undefined {
  const { method, url, httpVersionMajor, httpVersionMinor, headers } = incoming;
  const coding = headers['transfer-encoding'];
  if (httpVersionMajor !== 1) return invalid('this listener speaks HTTP/1.1; send that version');
  if (headers.host === undefined && httpVersionMinor > 0) return invalid('the request has no Host header');
  if (headers.host?.includes(',')) return invalid('the request has more than one Host header; send one');
  if (coding !== undefined && httpVersionMinor === 0)
    return invalid('Transfer-Encoding does not exist in HTTP/1.0; send Content-Length, or HTTP/1.1');
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return invalid(`Transfer-Encoding is "${coding.slice(0, 100)}"; only "chunked" is taken`);
  if (method === 'TRACE') return new StepgateError('method_not_allowed', 'TRACE is not answered');
  if (url?.charCodeAt(0) !== SLASH)
    return invalid('the request is for another server (its target is no path): this listener is no forward proxy');
  return undefined;
}

const SLASH = 0x2f;
const invalid = (message: string) => new StepgateError('invalid_request', message);

/** What Node could not parse, or waited for too long: an answer in our own shape, then the end. */
export function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  // A handshake that failed leaves nobody who could read words.
  const isDeaf = error.code === 'ECONNRESET' || /^ERR_(SSL|TLS)_/.test(String(error.code));
  if (!socket.writable || isDeaf || isAnswering(socket)) return void socket.destroy();
  writeError(socket, refusalOf(error));
}

/** CONNECT: Node hands over the bare socket. */
export function refuseTunnel({ url }: IncomingMessage, socket: Socket): void {
  const message = `no tunnel to "${String(url).slice(0, 200)}": this listener is no forward proxy`;
  writeError(socket, new StepgateError('method_not_allowed', message));
}

function refusalOf({ code }: NodeJS.ErrnoException): StepgateError {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new StepgateError('headers_too_large', "the request's headers are over limits.headerBytesMax");
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new StepgateError('request_timeout', 'the request came too slowly (limits.headMsMax, limits.bodyMsMax)');
  return invalid('not an HTTP/1.1 request that can be read');
}

/** Words of ours would be read as the answer to the request before, or as a part of it. Node's own handler looks at the same field. */
function isAnswering(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  const current = socket._httpMessage;
  return current != null && (current.headersSent || current.req.complete);
}

function writeError(socket: Socket, error: StepgateError): void {
  const body = JSON.stringify(errorBody(error));
  const head = `HTTP/1.1 ${error.status} Refused\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}`;
  socket.end(`${head}\r\n\r\n${body}`);
  // Destroyed at once, one that still sends would lose the answer; left to itself, it would keep the socket.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}
