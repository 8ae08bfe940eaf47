// How predictions read on the wire, `{"success": true, "response": {...}}`, as callers of notebook platforms' model endpoints know it: made of
// what an engine answers, or of an error. It holds one whole answer, under a limit, and knows no request.
import { type ErrorCode, StepgateError } from '../errors.ts';
import type { Rewriter } from '../openai/echo.ts';
import { engineError } from '../openai/engine-error.ts';
import type { Wording } from '../openai/routes.ts';

/** More text than any engine writes in one answer. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export const WORDING: Wording = {
  answers: (model) => new Prediction(model),
  errors: ({ code, message }) => failure(code, message),
};

class Prediction implements Rewriter {
  readonly #model: string;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(model: string) {
    this.#model = model;
  }

  push(chunk: Buffer): Buffer {
    this.#bytes += chunk.length;
    if (this.#bytes > ANSWER_BYTES_MAX) throw broken(`it is over ${ANSWER_BYTES_MAX} bytes`);
    this.#chunks.push(chunk);
    return EMPTY;
  }

  end(status: number): Buffer {
    const body = Buffer.concat(this.#chunks).toString('utf8');
    return Buffer.from(JSON.stringify(status < 400 ? predictionOf(body, this.#model) : refusalOf(body, status)));
  }
}

/** As much of a completion's or a chat completion's body as a prediction needs. */
interface EngineAnswer {
  readonly choices?: readonly { readonly text?: unknown; readonly message?: { readonly content?: unknown } }[];
  readonly usage?: unknown;
}

function predictionOf(body: string, model: string): unknown {
  const { choices, usage } = parsed(body);
  const [choice] = Array.isArray(choices) ? choices : [];
  // The content of a message that ended before it began is null.
  const text = choice?.message === undefined ? choice?.text : (choice.message?.content ?? '');
  if (typeof text === 'string') return { success: true, response: { text, model, usage: usage ?? null } };
  throw broken('there is no text in it');
}

/** Its status is the engine's, and so are its words, in whatever shape that kind of engine puts them. */
function refusalOf(body: string, status: number): unknown {
  const { type, message } = engineError(body, status);
  return failure(type, message);
}

function parsed(body: string): EngineAnswer {
  try {
    return (JSON.parse(body) ?? {}) as EngineAnswer;
  } catch {
    throw broken('it is not JSON');
  }
}

const failure = (code: ErrorCode | string, message: string) => ({ success: false, errors: [{ code, message }] });

const broken = (why: string): StepgateError =>
  new StepgateError('backend_error', `The engine's answer is no completion: ${why}.`);
