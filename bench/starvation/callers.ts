// Who asks: one streamed request, timed to its first token, and the crowd that keeps adapters busy in closed loops.
// Knows the OpenAI API and nothing of who answers: the engine itself and the gateway are asked alike.
import type { Random } from '../../test/random.ts';

export interface Ask {
  readonly model: string;
  /** How many the answer has, exactly. */
  readonly tokens: number;
  /** Leaves when no token has come by then, ms. Default: never. */
  readonly limitMs?: number;
  /** `x-stepgate-class`. Default: the gateway's guess. */
  readonly class?: string | undefined;
}

export interface Answer {
  readonly model: string;
  /** As performance.now(), ms. */
  readonly sentAt: number;
  readonly endedAt: number;
  /** From `sentAt`, ms; undefined: none came within the limit. */
  readonly firstTokenMs: number | undefined;
}

/** @throws Error with what was answered, when it was not a whole stream. */
export async function ask(url: string, { model, tokens, limitMs, class: kind }: Ask): Promise<Answer> {
  const leaving = new AbortController();
  const limit = limitMs === undefined ? undefined : setTimeout(() => leaving.abort(), limitMs);
  const sentAt = performance.now();
  let firstTokenMs: number | undefined;
  let text = '';
  try {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(kind !== undefined && { 'x-stepgate-class': kind }) },
      body: JSON.stringify({ model, prompt: 'hello world', max_tokens: tokens, ignore_eos: true, stream: true }),
      signal: leaving.signal,
    });
    for await (const bytes of response.body ?? []) {
      const part = Buffer.from(bytes).toString();
      text += part;
      // Lines that begin with a colon only keep a connection awake.
      if (firstTokenMs !== undefined || !part.includes('data: ')) continue;
      firstTokenMs = performance.now() - sentAt;
      clearTimeout(limit);
    }
    if (response.status !== 200 || text.includes('data: {"error"') || !text.includes('data: [DONE]'))
      throw new Error(`${url} answered ${model} with ${response.status}: ${text.slice(-300)}`);
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
  } finally {
    clearTimeout(limit);
  }
  return { model, sentAt, endedAt: performance.now(), firstTokenMs };
}

export interface CrowdOptions {
  /** Each kept busy by `clients`, of which each asks again as soon as it is answered. */
  readonly models: readonly string[];
  readonly clients: number;
  readonly random: Random;
}

/** Of an answer, both inclusive. They differ, since a crowd in step would free all its slots at once. */
const TOKENS_MIN = 64;
const TOKENS_MAX = 96;

export class Crowd {
  readonly answers: Answer[] = [];
  /** Of all its models. */
  readonly clients: number;
  readonly #url: string;
  readonly #random: Random;
  readonly #loops: Promise<unknown>;
  #isOpen = true;
  #notify: () => void = () => {};

  constructor(url: string, { models, clients, random }: CrowdOptions) {
    this.#url = url;
    this.#random = random;
    const loops = models.flatMap((model) => Array.from({ length: clients }, () => this.#loop(model)));
    this.clients = loops.length;
    this.#loops = Promise.all(loops);
    this.#loops.catch(() => this.#notify());
  }

  async #loop(model: string): Promise<void> {
    while (this.#isOpen) {
      const tokens = TOKENS_MIN + this.#random.below(TOKENS_MAX - TOKENS_MIN + 1);
      this.answers.push(await ask(this.#url, { model, tokens }));
      this.#notify();
    }
  }

  /** Resolves when so many answers have ended; rejects as a loop did. */
  async until(answers: number): Promise<void> {
    while (this.answers.length < answers) {
      const next = new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
      await Promise.race([next, this.#loops]);
    }
  }

  /** Nobody asks again; resolves when the last are answered. */
  async leave(): Promise<void> {
    this.#isOpen = false;
    await this.#loops;
  }
}
