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

/** Every name that does not simply pass. docs/api.md has the same table: a test holds them together. */
export const HEADER_POLICY = {
  request: {
    // Credentials are the gateway's to check; the rest would speak for a connection that is not the engine's.
    stripped: [
      ...HOP_BY_HOP,
      'authorization',
      'x-api-key',
      'api-key',
      'cookie',
      // Engines answer pages by rules of their own; who may ask is settled here.
      'origin',
      'host',
      'content-length',
      // Already answered by the gateway's own server.
      'expect',
      'accept-encoding',
      'forwarded',
      'x-real-ip',
      'x-request-id',
    ],
    strippedPrefixes: ['x-forwarded-', 'x-stepgate-'],
    added: [
      'host',
      'connection',
      'content-length',
      'transfer-encoding',
      'x-request-id',
      'accept-encoding',
      'authorization',
    ],
  },
  response: {
    stripped: [
      ...HOP_BY_HOP,
      'content-length',
      'x-request-id',
      // Rules for the host of a service, which a browser would keep for the gateway's; which pages may read is settled here.
      'strict-transport-security',
      'alt-svc',
      'access-control-allow-origin',
      'access-control-allow-credentials',
      'access-control-expose-headers',
      // LoRAX's: a path on the engine's machine.
      'x-adapter-id',
      'x-adapter-source',
    ],
    added: [
      'connection',
      'keep-alive',
      'content-length',
      'transfer-encoding',
      'x-request-id',
      'x-stepgate-model',
      'x-stepgate-backend',
      'x-stepgate-why',
      'x-stepgate-build',
    ],
  },
} as const;

const REQUEST_STRIPPED = new Set<string>(HEADER_POLICY.request.stripped);
const RESPONSE_STRIPPED = new Set<string>(HEADER_POLICY.response.stripped);

/** Engines must answer as they are: in a compressed answer the model's name could not be found. */
const ACCEPT_ENCODING = 'identity';

/** The caller's headers as the engine may see them. */
export function requestHeaders(incoming: IncomingHttpHeaders, requestId: string): Record<string, string> {
  const headers: Record<string, string> = {
    'x-request-id': requestId,
    'accept-encoding': ACCEPT_ENCODING,
  };
  const named = connectionNames(incoming.connection);
  for (const name in incoming) {
    if (REQUEST_STRIPPED.has(name) || isOfProxies(name) || named?.has(name)) continue;
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
    if (RESPONSE_STRIPPED.has(name) || named?.has(name)) continue;
    const value = engine[name];
    if (value !== undefined) headers[name] = value;
  }
  if (bytes !== undefined) headers['content-length'] = bytes;
  for (const name in ours) headers[name] = ours[name] as string;
  return headers;
}

/** One look at the first letter for most; of the gateway's own, and of proxies before it, none are the engine's business. */
const isOfProxies = (name: string): boolean =>
  name.startsWith('x-') && HEADER_POLICY.request.strippedPrefixes.some((prefix) => name.startsWith(prefix));

/** The body is compressed, or otherwise not as it reads. */
export const isEncoded = (contentEncoding: string | string[] | undefined): boolean =>
  contentEncoding !== undefined && contentEncoding !== '' && contentEncoding !== 'identity';

/** Headers that `Connection` names are for that connection only; the two usual values name none. */
function connectionNames(connection: string | string[] | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  const names = new Set(String(connection).toLowerCase().split(','));
  return new Set([...names].map((name) => name.trim()));
}
