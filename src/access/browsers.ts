// What a web page must not do: reach a listener under a name that only looks like it (DNS rebinding), or from a page of another origin.
// Decides from `Host` and `Origin` alone, before anything else of a request is looked at, and answers preflights.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { type Address, isLoopback } from '../config.ts';
import { StepgateError } from '../errors.ts';
import { sendError } from '../openai/error-body.ts';

export interface BrowserRules {
  readonly address: Address;
  /** Names besides the listener's own under which it is reached, without a port. */
  readonly hosts: readonly string[];
  /** Origins of other pages that may ask, such as `https://app.example.com`. */
  readonly origins: readonly string[];
}

const PREFLIGHT_S = '600';
const EXPOSED = 'x-request-id, x-stepgate-model, x-stepgate-backend, x-stepgate-why, retry-after';
/** Spellings of `Host` that were found good. */
const GOOD_MAX = 1_000;

export class Browsers {
  readonly #names: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  readonly #anyHost: boolean;
  readonly #good = new Set<string>();

  /** Where others can connect and no names are written, any name is good: there, every route asks for a key, and a page has none. */
  constructor({ address, hosts, origins }: BrowserRules) {
    this.#names = new Set(['localhost', address.host.toLowerCase(), ...hosts.map((host) => host.toLowerCase())]);
    this.#origins = new Set(origins);
    this.#anyHost = !isLoopback(address.host) && hosts.length === 0;
  }

  /** False: it is answered. */
  admit(incoming: IncomingMessage, response: ServerResponse): boolean {
    const { host, origin } = incoming.headers;
    // HTTP/1.0 without Host is no browser.
    if (host !== undefined && !this.#isGoodHost(host))
      return refuse(
        incoming,
        response,
        `this listener is not known as "${host.slice(0, 200)}"; use its address, or add the name to access.hosts`,
      );
    if (origin === undefined || isOwn(origin, host)) return true;
    if (!this.#origins.has(origin))
      return refuse(
        incoming,
        response,
        `pages of "${origin.slice(0, 200)}" may not ask here; add the origin to access.origins if they should`,
      );
    return this.#share(incoming, response, origin);
  }

  #isGoodHost(host: string): boolean {
    if (this.#anyHost || this.#good.has(host)) return true;
    const name = host
      .toLowerCase()
      .replace(/:\d*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .replace(/\.$/, '');
    // No name leads elsewhere later where none was looked up.
    const isGood = isIP(name) !== 0 || this.#names.has(name);
    if (isGood && this.#good.size < GOOD_MAX) this.#good.add(host);
    return isGood;
  }

  #share({ method, headers }: IncomingMessage, response: ServerResponse, origin: string): boolean {
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('vary', 'origin');
    response.setHeader('access-control-expose-headers', EXPOSED);
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return true;
    response.writeHead(204, {
      'access-control-allow-methods': 'GET, POST, DELETE',
      'access-control-allow-headers': headers['access-control-request-headers'] ?? '',
      'access-control-max-age': PREFLIGHT_S,
    });
    response.end();
    return false;
  }
}

/** A page of the listener itself, whether or not a proxy in front speaks TLS. */
const isOwn = (origin: string, host: string | undefined): boolean =>
  host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);

function refuse(incoming: IncomingMessage, response: ServerResponse, message: string): false {
  sendError(response, new StepgateError('forbidden', message));
  // What is still being sent is thrown away, so that the answer is read.
  incoming.resume();
  return false;
}
