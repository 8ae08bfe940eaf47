// What an engine's answer says of itself besides its words: that it is no whole answer, or ends in an error. Pure; forward.ts decides what
// follows from it.

/**
 * vLLM's word for an answer that it gave up, as it stops or is paused (`FinishReason.ABORT`): half an answer that looks whole. The
 * quotes are bare, so no text that a model generates can forge it. 0.2 us a chunk; one that is cut within these bytes is missed.
 */
const GIVEN_UP = Buffer.from('"finish_reason":"abort"');
export const GAVE_UP =
  'The engine gave the answer up (finish_reason "abort"): it is stopping, or was told to drop its requests.';

export const isGivenUp = (chunk: Buffer): boolean => chunk.includes(GIVEN_UP);

const STREAMED_ERROR = Buffer.from('data: {"error":');

/** vLLM's last words in a stream when its engine dies; in what a model says, quotes are escaped. */
export const endsInError = (last: Buffer | undefined): boolean => last?.includes(STREAMED_ERROR) === true;
