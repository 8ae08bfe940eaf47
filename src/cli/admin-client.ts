// The admin API as the commands see it: how to ask, and what comes back, checked once. Where it is, is addresses.ts'.
// Knows no command and prints nothing; every failure is a Failure that says what to do.
import type { Command } from 'commander';
import { z } from 'zod';
import { adminUrl } from './addresses.ts';
import { Failure, type Terminal, wrong } from './terminal.ts';

const list = <T extends z.ZodType>(row: T) => z.object({ data: z.array(row) });

export const backend = z.object({
  name: z.string(),
  url: z.string(),
  state: z.enum(['up', 'down', 'starting']),
  about: z.string().nullish(),
  drain: z.object({ state: z.enum(['draining', 'drained']), who: z.string(), since: z.string() }).nullish(),
  ejected: z.object({ trial: z.boolean(), until: z.string().nullable(), times: z.number() }).nullish(),
  kind: z.string().nullish(),
  /** Where it is listed. */
  from: z.enum(['config', 'api', 'engine']),
  slots: z.number().nullish(),
  inFlight: z.number(),
  adapters: z.array(
    z.object({
      adapter: z.string(),
      name: z.string().nullish(),
      state: z.enum(['loading', 'ready', 'draining']),
      inFlight: z.number(),
    }),
  ),
});
/** One that the gateway started. */
export const engine = z.object({
  name: z.string(),
  state: z.enum(['starting', 'up', 'restarting', 'failed', 'stopping']),
  about: z.string().nullish(),
  since: z.string().nullish(),
  at: z.string().nullish(),
  url: z.string().nullish(),
  base: z.string().nullish(),
  model: z.string().nullish(),
  pid: z.number().nullish(),
  restarts: z.number().nullish(),
  log: z.string(),
  lines: z.array(z.string()),
});
const model = z.object({
  name: z.string(),
  base: z.string().nullish(),
  latest: z.string().nullish(),
  best: z.string().nullish(),
  policy: z.string(),
  checkpoints: z.number(),
  servable: z.number(),
});
export const checkpoint = z.object({
  id: z.string(),
  name: z.string(),
  step: z.number().nullish(),
  revision: z.number(),
  state: z.string(),
  reasons: z.array(z.string()).nullish(),
  warnings: z.array(z.string()).nullish(),
  readyOn: z.array(z.string()),
  refusing: z.array(z.object({ name: z.string(), rankMax: z.number() })),
  source: z.string(),
  hosted: z.boolean().nullish(),
  bytes: z.number().nullish(),
  rank: z.number().nullish(),
  base: z.string().nullish(),
  architecture: z.string().nullish(),
  library: z.string().nullish(),
  createdAt: z.string(),
  trainLoss: z.number().nullish(),
  evalLoss: z.number().nullish(),
  metrics: z.record(z.string(), z.number()),
  resident: z.array(z.string()),
  /** `latest`, `best`, aliases. */
  names: z.array(z.string()),
});
const sweep = z.object({
  id: z.string(),
  model: z.string(),
  owner: z.string().nullable(),
  origin: z.string(),
  state: z.string(),
  expected: z.number(),
  done: z.number(),
  failed: z.number(),
  running: z.number(),
  waiting: z.number(),
  stepsDone: z.number(),
  perSecond: z.number(),
  etaMs: z.number().nullable(),
  steps: z.array(z.object({ step: z.number() })),
});
/** An adapter that engines died of. */
export const quarantined = z.object({
  name: z.string(),
  adapter: z.string(),
  state: z.enum(['kept', 'trial']),
  about: z.string(),
  until: z.string().nullable(),
});
export const backends = list(backend);
export const engines = list(engine);
export const quarantine = list(quarantined);
export const sweeps = list(sweep);
export const models = list(model);
export const checkpoints = z.object({ data: z.array(checkpoint), total: z.number(), hasMore: z.boolean() });

const failureOf = ({ message, code }: { message: string; code?: string | null | undefined }) =>
  new Failure(code ? `${message} (${code})` : message);

const refusal = z.object({ error: z.object({ message: z.string(), code: z.string().nullish() }) });

export interface AdminOptions {
  readonly admin?: string;
  readonly config?: string;
}

/** The options of every command that talks to a running gateway. */
export function withAdmin(command: Command): Command {
  return command
    .option('--admin <url>', "the gateway's admin listener (default: http://127.0.0.1:8081)")
    .option('--config <file>', 'take the admin listener from this config file');
}

export class AdminClient {
  readonly #url: string;
  readonly #key: string | undefined;

  private constructor(url: string, key: string | undefined) {
    this.#url = url;
    this.#key = key;
  }

  static async of(options: AdminOptions, terminal: Terminal): Promise<AdminClient> {
    const { key } = terminal;
    // Not said by Node, which shows it whole.
    if (key !== undefined && !/^[\x21-\x7e]+$/.test(key))
      throw wrong('STEPGATE_KEY holds more than one word, or letters that no header can carry: sg_... alone');
    return new AdminClient(await adminUrl(options), key);
  }

  /**
   * @param path under /admin/v1, its parts encoded
   * @returns the answer's JSON, undefined for an empty one
   */
  async ask(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    return this.#read(await this.#send({ method, path, body }));
  }

  /** An answer that comes bit by bit, as text. */
  async open(path: string): Promise<Response> {
    const response = await this.#send({ method: 'GET', path, body: undefined });
    if (response.headers.get('content-type')?.startsWith('text/plain')) return response;
    await this.#read(response);
    throw this.#stranger(response);
  }

  /**
   * POSTs what takes its time, and gives each event of the answer's stream to `onEvent`, until `signal`.
   * @throws Failure also for an event of the type "error", and where the stream ends before `onEvent` has answered true
   */
  async follow(
    path: string,
    body: unknown,
    { onEvent, signal }: { onEvent: (event: unknown) => boolean; signal: AbortSignal },
  ): Promise<void> {
    const response = await this.#send({ method: 'POST', path, body, accept: 'text/event-stream', signal });
    if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
      return void (await this.#read(response));
    let rest = '';
    const decoder = new TextDecoder();
    for await (const bytes of untilItEnds(response, signal)) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = line.startsWith('data: ') ? parseJson(line.slice('data: '.length)) : undefined;
        const refused = refusal.safeParse(event);
        if (refused.success) throw failureOf(refused.data.error);
        if (event !== undefined && onEvent(event)) return;
      }
    }
    throw new Failure(`${this.#url} ended the answer before it was done: ask again when the gateway is back`);
  }

  async #send(asked: {
    method: string;
    path: string;
    body: unknown;
    accept?: string;
    signal?: AbortSignal;
  }): Promise<Response> {
    const { method, path, body, accept = 'application/json', signal } = asked;
    const headers: Record<string, string> = { accept };
    if (this.#key !== undefined) headers.authorization = `Bearer ${this.#key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    return fetch(`${this.#url}/admin/v1${path}`, {
      method,
      headers,
      ...(signal && { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new Failure(
        `no gateway answers at ${this.#url} (${reason(error)}): start one with "stepgate serve" or "stepgate demo", or name its admin listener with --admin URL`,
      );
    });
  }

  async #read(response: Response): Promise<unknown> {
    const text = await response.text();
    const value = parseJson(text);
    if (response.ok && (text === '' || value !== undefined)) return value;
    const refused = refusal.safeParse(value);
    if (!refused.success) throw this.#stranger(response);
    if (refused.data.error.code === 'invalid_api_key') throw this.#keyless();
    throw failureOf(refused.data.error);
  }

  #keyless(): Failure {
    const about = this.#key === undefined ? 'STEPGATE_KEY is not set' : 'the one in STEPGATE_KEY does not count';
    return new Failure(
      `${this.#url} asks for an admin key, and ${about}: export STEPGATE_KEY=sg_... (docs/access.md says how to make one where all are lost)`,
    );
  }

  #stranger({ status }: Response): Failure {
    return new Failure(
      `${this.#url} answers ${status}, but not as stepgate's admin listener: name that one with --admin URL`,
    );
  }

  /** As `ask('GET', path)`, checked. */
  async get<T extends z.ZodType>(path: string, shape: T): Promise<z.output<T>> {
    return check(await this.ask('GET', path), shape);
  }
}

/** The pieces of an answer, however it ends. @throws the signal's reason */
async function* untilItEnds({ body }: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* body ?? [];
  } catch {
    signal.throwIfAborted();
  }
}

/** @throws Failure when the gateway speaks of something else than this command expects */
export function check<T extends z.ZodType>(value: unknown, shape: T): z.output<T> {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Failure(
    `the gateway's answer is not what this stepgate expects (${issue?.path.join('.')}: ${issue?.message}): use the stepgate of the gateway's version, or --json`,
  );
}

function reason(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  if (cause?.code === 'ECONNREFUSED') return 'connection refused';
  if (cause?.code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'what listens there speaks no TLS: write http://';
  return cause?.message || (error instanceof Error ? error.message : String(error));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
