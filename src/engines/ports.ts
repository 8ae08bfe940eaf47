// A port for an engine: one that is free now, below those that the system gives to outgoing connections, since an engine keeps its port.
import { createServer } from 'node:net';

const FIRST = 8100;
const LAST = 8999;

/**
 * Undefined: none is. `claim` says whether nobody has spoken for it, though nothing may listen there now, and makes it the caller's before it is
 * looked at: two who look at once find two.
 */
export async function findPort(claim: (port: number) => boolean): Promise<number | undefined> {
  for (let port = FIRST; port <= LAST; port++) if (claim(port) && (await isFree(port))) return port;
  return undefined;
}

export function portOf(url: string): number {
  const { port, protocol } = new URL(url);
  return Number(port || (protocol === 'https:' ? 443 : 80));
}

export function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}
