// Requests to a source: only to hosts that are allowed, also after a redirect, and each with the credentials of its own host alone.
// One client for each kind of source (rules.ts); the connections are shared.
import { Agent, fetch as undiciFetch } from 'undici';
import { z } from 'zod';
import { StepgateError } from '../errors.ts';
import { isPrivateLiteral, lookupPublic, NOT_PUBLIC } from './addresses.ts';
import { BrokenOff, failed, sayNetwork, type Tries, withTries } from './failures.ts';
import type { RemoteFile } from './listing.ts';

/** Where the requests of one fetch may go, and what they show there. */
export interface Rules {
  /** The setting under which its credentials are: `sources.hf`. */
  readonly setting: string;
  readonly hasKey: (url: URL) => boolean;
  /** `meant`: a person wrote this host down; `public`: only at a public address; undefined: not at all. */
  readonly reach: (url: URL) => 'meant' | 'public' | undefined;
  /** The headers for this URL, those given among them: with credentials where they are for its host. */
  readonly authorise: (url: URL, headers: Readonly<Record<string, string>>) => Promise<Record<string, string>>;
  /** Without its key, where a server has put that into its words. */
  readonly clean: (text: string) => string;
  /** What to write to make a host reachable. */
  readonly hint: (url: URL) => string;
}

/** What is asked, but for where. */
export interface Asked {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const REDIRECTS_MAX = 5;
/** Of a server's words, and of an address, in an error. */
const WORDS_SHOWN_MAX = 200;
const PATH_SHOWN_MAX = 200;
const JSON_BYTES_MAX = 32 * 1024 * 1024;
/** For the head of an answer, and between two parts of it. */
const SILENCE_MS_MAX = 30_000;
const CONNECT_MS_MAX = 10_000;

/** The connections. To hosts that a person wrote down, and to others, whose addresses are judged. */
export class Connections {
  readonly #meant = new Agent(agentOptions);
  readonly #public = new Agent({ ...agentOptions, connect: { timeout: CONNECT_MS_MAX, lookup: lookupPublic } });

  to(reach: 'meant' | 'public'): Agent {
    return reach === 'meant' ? this.#meant : this.#public;
  }

  async close(): Promise<void> {
    await Promise.all([this.#meant.destroy(), this.#public.destroy()]);
  }
}

const agentOptions: Agent.Options = {
  headersTimeout: SILENCE_MS_MAX,
  bodyTimeout: SILENCE_MS_MAX,
  connect: { timeout: CONNECT_MS_MAX },
  allowH2: false,
};

export class Client {
  readonly #rules: Rules;
  readonly #tries: Tries;
  readonly #connections: Connections;
  /** The source, for people. */
  readonly #about: string;

  constructor(rules: Rules, { tries, connections, about }: { tries: Tries; connections: Connections; about: string }) {
    this.#rules = rules;
    this.#tries = tries;
    this.#connections = connections;
    this.#about = about;
  }

  /** Resolves with any status but a redirect. @throws BrokenOff; StepgateError source_not_allowed, source_failed (redirects) */
  async open(to: string, init: Asked = {}): Promise<Response> {
    let url = new URL(to);
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      const response = await this.#ask(url, init);
      const next = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (next === null) return response;
      await response.body?.cancel();
      const led = URL.parse(next, url.href);
      if (led === null || led.username !== '' || led.password !== '')
        throw failed(`${this.#about}: ${url.host} redirects to what is no URL, or holds a password.`);
      url = led;
    }
    throw failed(`${this.#about}: ${new URL(to).host} redirects more than ${REDIRECTS_MAX} times.`);
  }

  /** As `open`, tried again where it is broken off, and refused where the status is no success. @throws StepgateError as `refuse` says */
  ok(to: string, init: Asked = {}): Promise<Response> {
    return withTries(() => this.#once(to, init), this.#tries);
  }

  /** As `ok`, with its body read, under a limit. */
  whole(to: string, init: Asked = {}): Promise<Response> {
    return withTries(async () => {
      const response = await this.#once(to, init);
      return new Response(await readBounded(response, this.#about), { headers: response.headers });
    }, this.#tries);
  }

  async text(to: string, init: Asked = {}): Promise<string> {
    return (await this.whole(to, init)).text();
  }

  async json(to: string, init: Asked = {}): Promise<unknown> {
    const text = await this.text(to, init);
    try {
      return JSON.parse(text);
    } catch {
      throw failed(
        `${this.#about}: ${new URL(to).host} answers, but not in JSON: is ${this.#rules.setting}.url right?`,
      );
    }
  }

  /** A file at this address. */
  at(address: string, more: Readonly<Record<string, string>> = {}): Pick<RemoteFile, 'open' | 'refuse'> {
    return {
      open: (headers) => this.open(address, { headers: { ...headers, ...more } }),
      refuse: (status) => this.refuse(status, new URL(address)),
    };
  }

  /** What a status that is no success means. */
  refuse(status: number, url: URL, words = ''): StepgateError {
    const { setting, hasKey } = this.#rules;
    const { host, pathname } = url;
    const what = ` (${pathname.slice(0, PATH_SHOWN_MAX)})`;
    if (status === 404)
      return new StepgateError('source_not_found', `${this.#about}: ${host} has nothing there${what}.${words}`, {
        param: 'source',
      });
    if (status === 401 || status === 403)
      return failed(
        `${this.#about}: ${host} answers ${status}: ${
          hasKey(url)
            ? `it is not there, or the key of ${setting} may not read it.`
            : `it is not there, or needs a key: set ${setting}.keyFile or ${setting}.keyEnv in the config.`
        }${words}`,
      );
    const about = `${this.#about}: ${host} answers ${status}.${words}`;
    return status >= 500 || status === 429 || status === 408 ? new BrokenOff(about) : failed(about);
  }

  async #once(to: string, init: Asked): Promise<Response> {
    const response = await this.open(to, init);
    if (response.ok) return response;
    const text = await readBounded(response, '').catch(() => '');
    throw this.refuse(response.status, new URL(to), this.says(text));
  }

  /** What a server says of its refusal in its own words, where it has any for people: JSON as MLflow, the Hub and W&B write it, XML as S3 does. */
  says(text: string): string {
    const words = /<Message>([^<]+)<\/Message>/.exec(text)?.[1] ?? messageIn(text);
    return words === undefined ? '' : ` It says: ${JSON.stringify(this.#rules.clean(words).slice(0, WORDS_SHOWN_MAX))}`;
  }

  async #ask(url: URL, init: Asked): Promise<Response> {
    const { reach: reachOf, authorise, hint } = this.#rules;
    const reach = /^https?:$/.test(url.protocol) ? reachOf(url) : undefined;
    if (reach === undefined || (reach === 'public' && isPrivateLiteral(url.hostname)))
      throw this.#forbidden(url, hint(url));
    const headers = await authorise(url, { 'accept-encoding': 'identity', 'user-agent': 'stepgate', ...init.headers });
    const { signal } = this.#tries;
    try {
      const dispatcher = this.#connections.to(reach);
      return (await undiciFetch(url.href, {
        ...init,
        headers,
        redirect: 'manual',
        signal,
        dispatcher,
      })) as unknown as Response;
    } catch (error) {
      signal.throwIfAborted();
      const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
      if (code === NOT_PUBLIC) throw this.#forbidden(url, hint(url));
      throw new BrokenOff(`${this.#about}: ${url.host} cannot be asked: ${sayNetwork(error)}.`, error);
    }
  }

  #forbidden(url: URL, hint: string): StepgateError {
    const message = `${this.#about} leads to ${url.host}, where the gateway may not go. ${hint}`;
    return new StepgateError('source_not_allowed', message, { param: 'source' });
  }
}

function messageIn(json: string): string | undefined {
  try {
    const { message, error, errors } = Refusal.parse(JSON.parse(json));
    return message ?? error ?? errors?.[0]?.message;
  } catch {
    return undefined;
  }
}

const Refusal = z.object({
  message: z.string().optional(),
  error: z.string().optional(),
  errors: z.array(z.object({ message: z.string() })).optional(),
});

async function readBounded(response: Response, about: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of response.body ?? []) {
      bytes += piece.length;
      if (bytes > JSON_BYTES_MAX) throw failed(`${about}: its list of files is over ${JSON_BYTES_MAX} bytes.`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof StepgateError) throw error;
    throw new BrokenOff(`${about}: the answer broke off: ${sayNetwork(error)}.`, error);
  }
  return Buffer.concat(pieces).toString('utf8');
}
