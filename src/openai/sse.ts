// The few server-sent events that the gateway itself writes into an answer. Everything else in a stream is the engine's, untouched.

/** Keeps a caller and its middleboxes awake; clients ignore comments. */
export const comment = (text: string): string => `: ${text}\n\n`;

/**
 * The last event of a stream that failed; no `[DONE]` follows it. `error` is OpenAI's error object.
 * Where a route's events are typed (`/v1/messages`, `/v1/responses`) the SDKs raise on `event: error`, elsewhere on data
 * that has an `error`.
 */
export function errorEvent(error: object, typedEvents: boolean): string {
  return typedEvents
    ? `event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`
    : `data: ${JSON.stringify({ error })}\n\n`;
}
