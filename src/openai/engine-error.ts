// An engine's error answer, read in any of the shapes that engines use. Pure; what follows from it, and how a caller is told, is others' business.
import { StepgateError } from '../errors.ts';
import { errorBody } from './error-body.ts';

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

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
