// The connections to one engine, set up for forward.ts. Nothing else may talk to engines on the request path.
import type { Socket } from 'node:net';
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

/** An error of a socket says whether it had answered before, and whether it was answering (40 ns a request). */
function connector(connectMs: number, ca: string | undefined): buildConnector.connector {
  const connect = buildConnector({ timeout: connectMs, ...(ca !== undefined && { ca }) });
  return (options, callback) =>
    connect(options, (...made) => {
      const [, socket] = made;
      if (socket) watch(socket);
      callback(...made);
    });
}

function watch(socket: Socket): void {
  const { write } = socket;
  let readBefore = 0;
  socket.write = (...args: unknown[]): boolean => {
    readBefore = socket.bytesRead;
    return Reflect.apply(write, socket, args);
  };
  socket.prependListener('error', (error) =>
    Object.assign(error, { reused: readBefore > 0, answering: socket.bytesRead > readBefore }),
  );
}

const CLOSED = new Set<unknown>(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * The engine closed a connection on which it had answered before, without a byte of this answer: perhaps for idleness, while the request was on
 * its way.
 */
export const closedWhenReused = (error: Error): boolean =>
  'code' in error &&
  CLOSED.has(error.code) &&
  'reused' in error &&
  error.reused === true &&
  'answering' in error &&
  error.answering === false;
