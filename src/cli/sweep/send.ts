// One request of a sweep, once: asks, and says whether the answer counts or the same is to be asked again. Decides no waiting.
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'undici';
import { headerText } from '../../openai/header-text.ts';
import type { Item } from './agenda.ts';
import type { ResultLine } from './results.ts';

export type Sent =
  | { readonly kind: 'line'; readonly line: ResultLine }
  /** Refused for now, or nobody was there. `line`: what to write down when it was tried often enough; undefined: it is always tried again. */
  | { readonly kind: 'again'; readonly why: string; readonly afterMs: number; readonly line: ResultLine | undefined };

/** An answer comes whole, after its wait and its generation; the gateway has its own deadlines, this one is for a host that is gone. */
const ANSWER_MS_MAX = 3_600_000;

export class Sender {
  readonly #url: string;
  readonly #key: string | undefined;
  readonly #agent: Agent;

  constructor({ url, key, connections }: { url: string; key: string | undefined; connections: number }) {
    this.#url = url;
    this.#key = key;
    this.#agent = new Agent({ connections, headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX });
  }

  /** @throws the signal's reason when it is aborted */
  async send({ work, request: { customId, path, body } }: Item, sweep: string, signal: AbortSignal): Promise<Sent> {
    const requestId = randomUUID();
    const common = { id: `sweep_${requestId}`, custom_id: customId };
    const refused = (code: string, message: string): ResultLine => ({
      ...common,
      response: null,
      error: { code, message },
    });
    try {
      const answer = await request(`${this.#url}${path}`, {
        dispatcher: this.#agent,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-request-id': requestId,
          'x-stepgate-sweep': sweep,
          ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
        },
        body: JSON.stringify({ ...body, model: work.name }),
        signal,
      });
      const { statusCode: status, headers } = answer;
      const value = jsonOr(await answer.body.text());
      const line = { ...common, response: { status_code: status, request_id: requestId, body: value }, error: null };
      if (status === 429 || status === 503 || status === 502) {
        const afterMs = Number(headers['retry-after'] ?? 0) * 1000 || 0;
        return {
          kind: 'again',
          why: messageOf(value) ?? `${status}`,
          afterMs,
          line: status === 502 ? line : undefined,
        };
      }
      const said = headers['x-stepgate-model'];
      if (status < 400 && said !== headerText(work.name)) {
        const message = `${work.name} was asked for, and ${said ?? 'nobody that says its name'} answered; is ${this.#url} the gateway?`;
        return { kind: 'line', line: refused('wrong_model', message) };
      }
      return { kind: 'line', line };
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'again', why: reasonOf(error), afterMs: 0, line: undefined };
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const messageOf = (body: unknown): string | undefined =>
  (body as { error?: { message?: string } } | null)?.error?.message;

const reasonOf = (error: unknown): string => {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ECONNREFUSED'
    ? 'connection refused'
    : error instanceof Error
      ? error.message || `${code}`
      : String(error);
};
