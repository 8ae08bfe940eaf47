// What an engine's answer says of itself: its error, in any of the shapes that engines use, or that it is no whole answer. Pure; forward.ts decides what follows from it.
import { StepgateError } from '../errors.ts';
import { errorBody } from '../openai/error-body.ts';

export interface EngineError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | number;
}

/** The error in an answer's text: `{"error":{...}}`, `{"error":"..."}`, flat `{"message":...}`, or no JSON at all. */
export function engineError(text: string, status: number): EngineError {
  const message = `The engine answered ${status}: ${text.slice(0, 500)}`;
  const plain = errorBody(new StepgateError('backend_error', message)).error;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return plain;
  }
  const inner = field(body, 'error');
  const error = typeof inner === 'object' && inner !== null ? inner : body;
  const said = typeof inner === 'string' ? inner : field(error, 'message');
  if (typeof said !== 'string') return plain;
  const [type, param, code] = [field(error, 'type'), field(error, 'param'), field(error, 'code')];
  return {
    message: said,
    type: typeof type === 'string' ? type : plain.type,
    param: typeof param === 'string' ? param : null,
    code: typeof code === 'string' || typeof code === 'number' ? code : status,
  };
}

/**
 * vLLM's word for an answer that it gave up, as it stops or is paused (`FinishReason.ABORT`): half an answer that looks whole. The
 * quotes are bare, so no text that a model generates can forge it. 0.2 us a chunk; one that is cut within these bytes is missed.
 */
const GIVEN_UP = Buffer.from('"finish_reason":"abort"');
export const GAVE_UP =
  'The engine gave the answer up (finish_reason "abort"): it is stopping, or was told to drop its requests.';

export const isGivenUp = (chunk: Buffer): boolean => chunk.includes(GIVEN_UP);

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;

const STREAMED_ERROR = Buffer.from('data: {"error":');

/** vLLM's last words in a stream when its engine dies; in what a model says, quotes are escaped. */
export const endsInError = (last: Buffer | undefined): boolean => last?.includes(STREAMED_ERROR) === true;
