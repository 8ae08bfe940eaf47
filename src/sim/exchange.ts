// One request being answered, whatever its protocol: what was asked, and the choices as they grow. Also how a body's fields are read.
// Each wire-*.ts turns a body into an `Ask` and an `Exchange` into bytes; neither HTTP nor time is known here.
import { type Token, tokenize, VOCABULARY } from './answers.ts';
import { notAString, promptNeeded, promptTooLong, tokenUnknown, tooManyAsked } from './refusals.ts';

export type Body = Readonly<Record<string, unknown>>;

/** What a request wants, once read. */
export interface Ask {
  readonly prompts: readonly (readonly number[])[];
  /** Choices per prompt. */
  readonly n: number;
  /** Undefined: until the answer's natural end. */
  readonly maxTokens: number | undefined;
  readonly ignoreEnd: boolean;
  readonly stream: boolean;
  readonly usage: 'none' | 'last' | 'each';
  readonly echo: boolean;
  readonly logprobs: boolean;
  readonly tokenIds: boolean;
  /** Made whether its caller stays or not. */
  readonly background: boolean;
  /** The id of the answer that it goes on from. */
  readonly previous: string | undefined;
}

/** One answer of an exchange; it grows token by token. */
export interface Choice {
  readonly index: number;
  readonly prompt: readonly number[];
  digest: string;
  readonly tokens: Token[];
  finish: 'length' | 'stop' | 'abort' | undefined;
}

export interface Exchange {
  readonly id: string;
  readonly createdS: number;
  /** The name that was asked for, or the first base: what the answer's `model` says. */
  readonly model: string;
  readonly ask: Ask;
  readonly choices: readonly Choice[];
}

/** One protocol on the wire. Frames are whole SSE events. */
export interface Wire {
  readonly idPrefix: string;
  /** Its bodies are multipart forms. */
  readonly form?: true;
  /** The caller may choose the answer's id, and ask for the answer by it. */
  readonly keeps?: true;
  read(body: Body): Ask;
  whole(exchange: Exchange): unknown;
  /** Sent with the first token of the first choice. */
  opening(exchange: Exchange): string;
  /** The choice's newest token; `choice.finish` is set when it was the last. */
  token(exchange: Exchange, choice: Choice): string;
  closing(exchange: Exchange): string;
  /** In a stream that has begun. Left out: the error, then [DONE] all the same. */
  failing?(message: string): string;
}

export const FINGERPRINT = 'vllm-0.32.0-sim';
export const DONE = 'data: [DONE]\n\n';
export const frame = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`;
export const event = (type: string, data: object): string => `event: ${type}
data: ${JSON.stringify({ type, ...data })}

`;

export const textOf = (choice: Choice): string => choice.tokens.map(({ text }) => text).join('');
export const newest = (choice: Choice): Token => choice.tokens.at(-1) ?? { id: 0, text: '' };
export const promptTokens = ({ ask }: Exchange): number => ask.prompts.reduce((sum, prompt) => sum + prompt.length, 0);
export const answerTokens = ({ choices }: Exchange): number =>
  choices.reduce((sum, { tokens }) => sum + tokens.length, 0);

/** Usage as chat and completions tell it. */
export function usageOf(exchange: Exchange) {
  const [prompt, completion] = [promptTokens(exchange), answerTokens(exchange)];
  return { prompt_tokens: prompt, total_tokens: prompt + completion, completion_tokens: completion };
}

/** The fields that chat and completions share. */
export function commonAsk(body: Body) {
  const options = objectAt(body, 'stream_options');
  const each = options.continuous_usage_stats === true;
  const usage: Ask['usage'] = options.include_usage === true ? (each ? 'each' : 'last') : 'none';
  return {
    n: numberAt(body, 'n') ?? 1,
    ignoreEnd: body.ignore_eos === true,
    stream: body.stream === true,
    usage,
    echo: body.echo === true,
    tokenIds: body.return_token_ids === true,
    background: false,
    previous: undefined,
  };
}

/** Throws where the model's length forbids it, in vLLM's words. */
export function checkLengths(ask: Ask, maxModelLen: number): void {
  if (ask.maxTokens !== undefined && ask.maxTokens > maxModelLen) throw tooManyAsked(ask.maxTokens, maxModelLen);
  for (const prompt of ask.prompts) {
    if (prompt.length >= maxModelLen) throw promptTooLong(prompt.length, maxModelLen);
  }
}

/** `prompt` or `input`: a string, a list of strings, token ids, or a list of lists of them. */
export function promptsOf(value: unknown): number[][] {
  const list = Array.isArray(value) ? value : [value];
  const prompts = typeof list[0] === 'number' ? [tokensOf(list)] : list.map(promptOf);
  if (prompts.length === 0 || prompts.some((prompt) => prompt.length === 0)) throw promptNeeded();
  return prompts;
}

function promptOf(value: unknown): number[] {
  if (typeof value === 'string') return tokenize(value);
  if (Array.isArray(value)) return tokensOf(value);
  throw promptNeeded();
}

export function tokensOf(list: readonly unknown[]): number[] {
  return list.map((id) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= VOCABULARY) throw tokenUnknown(id);
    return id;
  });
}

/** The chat template: a line per message, then the assistant's turn. */
export function templated(messages: readonly unknown[]): number[] {
  const lines = messages.map((message) => {
    const { role, content } = typeof message === 'object' && message !== null ? ({ ...message } as Body) : {};
    return `${String(role)}: ${typeof content === 'string' ? content : JSON.stringify(content ?? null)}\n`;
  });
  return tokenize(`${lines.join('')}assistant: `);
}

export function numberAt(body: Body, field: string): number | undefined {
  const value = body[field];
  return typeof value === 'number' ? value : undefined;
}

export function stringAt(body: Body, field: string): string | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw notAString(field, value);
  return value;
}

export function objectAt(body: Body, field: string): Body {
  const value = body[field];
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
