// The connections to one engine, set up for forward.ts. Nothing else may talk to engines on the request path.
import { Pool } from 'undici';

/** `connectMs`: how long a connection may take to be made; undici's own clock for it is half a second coarse. */
export const enginePool = (url: string, connectMs: number): Pool =>
  new Pool(url, {
    connect: { timeout: connectMs },
    // vLLM closes idle connections after 5 s, and a request sent into a closing one would be lost.
    keepAliveTimeout: 4000,
    keepAliveMaxTimeout: 4000,
    // Deadlines are forward.ts's: these would run on while the caller is slow.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 64 * 1024,
    allowH2: false,
  });
