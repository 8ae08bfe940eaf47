// Which headers cross the gateway, in both directions, and nothing else.
// Framing (content-length of the request, transfer-encoding) belongs to whoever writes the socket, never to this table.
import type { IncomingHttpHeaders } from 'node:http';

/** RFC 9110 7.6.1: meant for one connection only. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** Why each stays here: credentials are the gateway's to check; the rest would speak for a connection that is not the engine's. */
const REQUEST_DROPPED = new Set([
  ...HOP_BY_HOP,
  'authorization',
  'x-api-key',
  'api-key',
  'cookie',
  'host',
  'content-length',
  // Already answered by the gateway's own server.
  'expect',
  // Engines must answer as they are: a compressed `model` could not be found.
  'accept-encoding',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  // Meant for the gateway.
  'x-stepgate-class',
]);

const RESPONSE_DROPPED = new Set([...HOP_BY_HOP, 'content-length']);

/** The caller's headers as the engine may see them. */
export function requestHeaders(incoming: IncomingHttpHeaders, requestId: string): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId };
  const named = connectionNames(incoming.connection);
  for (const name in incoming) {
    if (REQUEST_DROPPED.has(name) || name.startsWith('x-forwarded-') || named?.has(name)) continue;
    const value = incoming[name];
    if (value !== undefined) headers[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return headers;
}

/** The engine's headers as the caller may see them; `ours` win. `bytes`: the body's content-length, where it is known. */
export function responseHeaders(
  engine: IncomingHttpHeaders,
  ours: Readonly<Record<string, string>>,
  bytes: string | undefined,
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  const named = connectionNames(engine.connection);
  for (const name in engine) {
    if (RESPONSE_DROPPED.has(name) || named?.has(name)) continue;
    const value = engine[name];
    if (value !== undefined) headers[name] = value;
  }
  if (bytes !== undefined) headers['content-length'] = bytes;
  for (const name in ours) headers[name] = ours[name] as string;
  return headers;
}

/** Headers that `Connection` names are for that connection only; the two usual values name none. */
function connectionNames(connection: string | string[] | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  const names = new Set(String(connection).toLowerCase().split(','));
  return new Set([...names].map((name) => name.trim()));
}
