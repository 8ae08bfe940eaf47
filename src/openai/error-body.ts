// The one shape of an error on the wire, as OpenAI's clients read it.
import type { ServerResponse } from 'node:http';
import { ERRORS, type ErrorCode, StepgateError } from '../errors.ts';
import type { Wording } from './routes.ts';

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: ErrorCode;
  };
}

export function errorBody(error: StepgateError): ErrorBody {
  const { type } = ERRORS[error.code];
  return { error: { message: error.message, type, param: error.param ?? null, code: error.code } };
}

/** Seconds to tell in Retry-After where the catalogue's status asks for one. */
const RETRY_AFTER_S: Partial<Record<ErrorCode, number>> = { no_capacity: 1, backend_unavailable: 2, shutting_down: 2 };

export function errorHeaders(error: StepgateError): Record<string, string> {
  const retryAfterS = error.retryAfterS ?? RETRY_AFTER_S[error.code];
  return {
    'content-type': 'application/json',
    ...(retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }),
    // RFC 9110 11.6.1 asks for it.
    ...(error.code === 'invalid_api_key' && { 'www-authenticate': 'Bearer' }),
  };
}

/** Whatever was thrown, as an error of the catalogue: what we did not foresee is a bug of ours. */
export function asStepgateError(thrown: unknown): StepgateError {
  if (thrown instanceof StepgateError) return thrown;
  return new StepgateError('internal_error', 'a bug in the gateway; the log has the details under this request id', {
    cause: thrown,
  });
}

interface Sending {
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the route; undefined: OpenAI's. */
  readonly wording?: Wording | undefined;
}

/** Answers with the error, unless the answer has begun. */
export function sendError(
  response: ServerResponse,
  error: StepgateError,
  { headers = {}, wording }: Sending = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const body = JSON.stringify(wording === undefined ? errorBody(error) : wording.errors(error));
  response.writeHead(error.status, { ...headers, ...errorHeaders(error), 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
