// The connections to one engine, set up for forward.ts. Nothing else may talk to engines on the request path.
import { buildConnector, Pool } from 'undici';

/** `connectMs`: how long a connection may take to be made; undici's own clock for it is half a second coarse. */
export const enginePool = (url: string, connectMs: number): Pool =>
  new Pool(url, {
    connect: connector(connectMs),
    // vLLM closes idle connections after 5 s, and a request sent into a closing one would be lost.
    keepAliveTimeout: 4000,
    keepAliveMaxTimeout: 4000,
    // Deadlines are forward.ts's: these would run on while the caller is slow.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 64 * 1024,
    allowH2: false,
  });

/** An error of a socket says what it has read, as undici's own do: whether it had answered before. */
function connector(connectMs: number): buildConnector.connector {
  const connect = buildConnector({ timeout: connectMs });
  return (options, callback) =>
    connect(options, (...made) => {
      const [, socket] = made;
      socket?.prependListener('error', (error) => Object.assign(error, { socket: { bytesRead: socket.bytesRead } }));
      callback(...made);
    });
}

const CLOSED = new Set<unknown>(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** The engine closed a connection on which it had answered before: perhaps for idleness, while the request was on its way. */
export function closedWhenReused(error: Error): boolean {
  if (!('code' in error && CLOSED.has(error.code))) return false;
  if (!('socket' in error) || typeof error.socket !== 'object' || error.socket === null) return false;
  return 'bytesRead' in error.socket && Number(error.socket.bytesRead) > 0;
}
