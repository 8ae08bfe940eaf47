// One short question to an engine and its whole answer, under a size limit and the caller's deadline. Says in a sentence why there was
// none. For probing, loading and unloading only: what callers wait for goes through forward.ts.
import type { Dispatcher } from 'undici';

export interface Line {
  /** Where the engine is, without a slash at the end; its path, if any, comes before every route. */
  readonly url: string;
  readonly dispatcher: Dispatcher;
}

export interface Answer {
  readonly status: number;
  /** Media type without parameters, '' when there is none. */
  readonly type: string;
  readonly text: string;
}

/**
 * Why there is no answer. `refused`: no connection, so nothing was sent. `late`: the deadline passed. `left`: given up by the asker.
 * `broken`: the connection ended, or spoke no HTTP. After the last three the engine may have done what it was asked.
 */
export type NoAnswerKind = 'refused' | 'late' | 'left' | 'broken';

export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  readonly kind: NoAnswerKind;

  constructor(kind: NoAnswerKind, message: string, cause: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** Nobody listens there: no process does what it did. */
export const isNobodyThere = ({ cause }: NoAnswer): boolean => describe(cause).code === 'ECONNREFUSED';

/** For a question that the server hands on to what computes, which answers nobody in the middle of a prefill or a load. */
export const unlessLate = <T>(asking: Promise<T>, otherwise: T): Promise<T> =>
  asking.catch((error: unknown) => {
    if (error instanceof NoAnswer && error.kind === 'late') return otherwise;
    throw error;
  });

/** `/metrics` grows with every combination of adapters that ever ran together: megabytes are real, tens of them are not. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

/** Rejects with `NoAnswer` alone. With `json` it is a POST, else a GET. */
export async function ask(
  { url, dispatcher }: Line,
  { path, json }: { path: string; json?: unknown },
  signal: AbortSignal,
): Promise<Answer> {
  const { origin, pathname } = new URL(url);
  const post = json !== undefined;
  try {
    const { statusCode, headers, body } = await dispatcher.request({
      origin,
      path: `${pathname.replace(/\/$/, '')}${path}`,
      method: post ? 'POST' : 'GET',
      headers: post ? { 'content-type': 'application/json' } : {},
      body: post ? JSON.stringify(json) : null,
      signal,
    });
    const type = String(headers['content-type'] ?? '')
      .replace(/;.*/s, '')
      .trim();
    return { status: statusCode, type, text: await readWhole(body) };
  } catch (error) {
    throw noAnswer(url, error, signal);
  }
}

async function readWhole(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop early destroys the body, and with it the connection.
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const UNKNOWN_HOST = new Set(['ENOTFOUND', 'EAI_AGAIN']);
const UNREACHED = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL']);

function noAnswer(url: string, error: unknown, signal: AbortSignal): NoAnswer {
  const { code, detail } = describe(error);
  if (signal.aborted && !isTimeout(signal.reason))
    return new NoAnswer('left', `the question to ${url} was given up`, error);
  if (isTimeout(error) || code === 'UND_ERR_CONNECT_TIMEOUT')
    return new NoAnswer('late', `${url} did not answer in time`, error);
  if (UNKNOWN_HOST.has(code))
    return new NoAnswer('refused', `the host of ${url} has no address (${code}): is the url right?`, error);
  if (UNREACHED.has(code))
    return new NoAnswer('refused', `no connection to ${url} (${code}): is the engine running there?`, error);
  return new NoAnswer('broken', `the connection to ${url} broke before its answer was whole (${detail})`, error);
}

const isTimeout = (error: unknown): boolean => error instanceof Error && error.name === 'TimeoutError';

function describe(error: unknown): { code: string; detail: string } {
  if (!(error instanceof Error)) return { code: '', detail: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { code, detail: code.startsWith('E') ? code : error.message };
}
