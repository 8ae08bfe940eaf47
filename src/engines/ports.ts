// A port for an engine: one that is free now, below those that the system gives to outgoing connections, since an engine keeps its port.
import { createServer } from 'node:net';

const FIRST = 8100;
const LAST = 8999;

/** Undefined: none is. `taken`: those that are spoken for, though nothing listens there now. */
export async function findPort(taken: ReadonlySet<number>): Promise<number | undefined> {
  for (let port = FIRST; port <= LAST; port++) if (!taken.has(port) && (await isFree(port))) return port;
  return undefined;
}

export function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}
