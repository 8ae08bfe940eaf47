// What an engine's answer says of itself besides its words: that it is no whole answer, or ends in an error. Pure; forward.ts decides what
// follows from it.
import { engineError } from '../openai/engine-error.ts';

/**
 * vLLM's word for an answer that it gave up, as it stops or is paused (`FinishReason.ABORT`): half an answer that looks whole. The
 * quotes are bare, so no text that a model generates can forge it. 0.2 us a chunk; one that is cut within these bytes is missed.
 */
const GIVEN_UP = Buffer.from('"finish_reason":"abort"');
export const GAVE_UP =
  'The engine gave the answer up (finish_reason "abort"): it is stopping, or was told to drop its requests.';

export const isGivenUp = (chunk: Buffer): boolean => chunk.includes(GIVEN_UP);

/** Bare: in what a model says, quotes are escaped. */
const ERROR_WORD = Buffer.from('"error"');
/** OpenAI's and LoRAX's, which writes no space after the colon; then Anthropic's (`/v1/messages`) and that of `/v1/responses`. */
const ERROR_EVENT = /^data: ?(\{"error":.*|\{"type": ?"error".*)$/m;
/** Where a stream's error has no status for a code: OpenAI's type of a caller's mistake, and LoRAX's types (router/src/server.rs). */
const STATUS_OF_TYPE = new Map([
  ['invalid_request_error', 400],
  ['generation', 424],
  ['overloaded', 429],
  ['validation', 422],
]);

/**
 * The status of the error that these events of a stream tell of; undefined: of none. Streams begin with 200, so that a caller's own mistake comes
 * as one too.
 */
export function streamedError(events: Buffer | undefined): number | undefined {
  if (events?.includes(ERROR_WORD) !== true) return undefined;
  const told = ERROR_EVENT.exec(events.toString('utf8'))?.[1];
  if (told === undefined) return undefined;
  const { code, type } = engineError(told, 0);
  const status = Number(code);
  if (status >= 400 && status <= 599) return status;
  return STATUS_OF_TYPE.get(/"error_type":"(\w+)"/.exec(told)?.[1] ?? type) ?? 500;
}
