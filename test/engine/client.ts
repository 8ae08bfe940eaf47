// A bare client of one engine for the conformance suite: what it answers, unchanged, and streams that can be left.
import { type ClientRequest, type IncomingMessage, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly text: string;
}

/** An error's body in the shape of OpenAI. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: number;
  };
}

export class EngineClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async get(path: string): Promise<Answer> {
    return answerOf(await fetch(this.url + path));
  }

  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const sent = typeof body === 'string' ? body : JSON.stringify(body);
    const all = { 'content-type': 'application/json', ...headers };
    return answerOf(await fetch(this.url + path, { method: 'POST', headers: all, body: sent }));
  }

  load(name: string, path: string): Promise<Answer> {
    return this.post('/v1/load_lora_adapter', { lora_name: name, lora_path: path });
  }

  unload(name: string): Promise<Answer> {
    return this.post('/v1/unload_lora_adapter', { lora_name: name });
  }

  async unloadAll(): Promise<void> {
    for (const { id, parent } of await this.cards()) if (parent !== null) await this.unload(String(id));
  }

  /** Greedy, so that the same weights give the same ids; ends only at `maxTokens`. */
  async tokenIds(model: string, maxTokens: number): Promise<number[]> {
    const body = { ...asked(model, maxTokens), return_token_ids: true };
    const { status, text } = await this.post('/v1/completions', body);
    if (status !== 200) throw new Error(`${model}: ${status} ${text}`);
    return (JSON.parse(text) as { choices: { token_ids: number[] }[] }).choices.flatMap((choice) => choice.token_ids);
  }

  /** Resolves with the response's head; the body comes as it is made. */
  stream(path: string, body: unknown): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const asking = request(this.url + path, { method: 'POST', headers: { 'content-type': 'application/json' } });
      asking.on('response', (response) => resolve(new Stream(asking, response)));
      asking.on('error', reject);
      asking.end(JSON.stringify({ ...(body as object), stream: true }));
    });
  }

  longStream(model: string, maxTokens: number): Promise<Stream> {
    return this.stream('/v1/completions', asked(model, maxTokens));
  }

  async cards(): Promise<Record<string, unknown>[]> {
    return (JSON.parse((await this.get('/v1/models')).text) as { data: Record<string, unknown>[] }).data;
  }

  /** The sum over the series of one family. */
  async metric(family: string): Promise<number | undefined> {
    const { text } = await this.get('/metrics');
    const lines = text.split('\n').filter((line) => line.startsWith(`${family}{`) || line.startsWith(`${family} `));
    return lines.length === 0
      ? undefined
      : lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

export const asked = (model: string, maxTokens: number) => ({
  model,
  prompt: 'hello world',
  temperature: 0,
  max_tokens: maxTokens,
  ignore_eos: true,
});

/** One streamed answer. */
export class Stream {
  readonly status: number;
  readonly type: string | undefined;
  readonly #asking: ClientRequest;
  readonly #response: IncomingMessage;
  #text = '';
  #ended = false;
  #notify: () => void = () => {};

  constructor(asking: ClientRequest, response: IncomingMessage) {
    this.#asking = asking;
    this.#response = response;
    this.status = response.statusCode ?? 0;
    this.type = response.headers['content-type'];
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      this.#text += chunk;
      this.#notify();
    });
    response.on('close', () => {
      this.#ended = true;
      this.#notify();
    });
    // A stream that was left ends with an error that nobody needs.
    response.on('error', () => {});
    asking.on('error', () => {});
  }

  /** SSE data lines so far. */
  get data(): string[] {
    return this.#text
      .split('\n')
      .filter((line) => line.startsWith('data: '))
      .map((line) => line.slice(6));
  }

  get events(): string[] {
    return this.#text
      .split('\n')
      .filter((line) => line.startsWith('event: '))
      .map((line) => line.slice(7));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when so many data lines are there, or the stream has ended. */
  async until(lines: number): Promise<void> {
    while (this.data.length < lines && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    }
  }

  async end(): Promise<string[]> {
    await this.until(Number.POSITIVE_INFINITY);
    return this.data;
  }

  leave(): void {
    this.#asking.destroy();
    this.#response.destroy();
  }
}

async function answerOf(response: Response): Promise<Answer> {
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? undefined,
    text: await response.text(),
  };
}

/** Asks again every 20 ms; rejects with `what` after `withinMs`. */
export async function poll(what: string, withinMs: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
