// The connections to one engine, set up for forward.ts. Nothing else may talk to engines on the request path.
import { buildConnector, type Dispatcher, Pool } from 'undici';

export interface PoolOptions {
  /** How long a connection may take to be made; undici's own clock for it is half a second coarse. */
  readonly connectMs: number;
  /** PEM of the authority that is believed; undefined: those that Node knows. */
  readonly ca?: string | undefined;
  /** The Authorization header of every request. */
  readonly authorization?: string | undefined;
}

export function enginePool(url: string, { connectMs, ca, authorization }: PoolOptions): Dispatcher {
  const pool = new Pool(url, {
    connect: connector(connectMs, ca),
    // vLLM closes idle connections after 5 s, and a request sent into a closing one would be lost.
    keepAliveTimeout: 4000,
    keepAliveMaxTimeout: 4000,
    // Deadlines are forward.ts's: these would run on while the caller is slow.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 64 * 1024,
    allowH2: false,
  });
  return authorization === undefined ? pool : pool.compose(withAuthorization(authorization));
}

const withAuthorization =
  (authorization: string): Dispatcher.DispatcherComposeInterceptor =>
  (dispatch) =>
  (options, handler) =>
    dispatch({ ...options, headers: { ...(options.headers as Record<string, string>), authorization } }, handler);

/** An error of a socket says what it has read, as undici's own do: whether it had answered before. */
function connector(connectMs: number, ca: string | undefined): buildConnector.connector {
  const connect = buildConnector({ timeout: connectMs, ...(ca !== undefined && { ca }) });
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
