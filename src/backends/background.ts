// Waits for an answer that an engine makes in the background (`/v1/responses` with `"background": true`), by asking for it now and then. The
// engine tells nobody when it is done.
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type Line, NoAnswer } from './ask.ts';

/** Doubled from the first to the last: a slot is kept no longer than that beyond its use. */
const ASK_EVERY_MS = { first: 100, last: 2_000 };
const ANSWER_MS = 10_000;

/** Resolves when it is made, failed, cancelled or lost, when the engine is gone, or after `wholeMs`. Never rejects. */
export async function answerMade({ url, pool }: Pooled, id: string, wholeMs: number): Promise<void> {
  const end = performance.now() + wholeMs;
  for (let pauseMs = ASK_EVERY_MS.first; performance.now() < end; pauseMs = Math.min(2 * pauseMs, ASK_EVERY_MS.last)) {
    if (!(await isBeingMade({ url, dispatcher: pool }, id))) return;
    await sleep(pauseMs, undefined, { ref: false });
  }
}

interface Pooled {
  readonly url: string;
  readonly pool: Line['dispatcher'];
}

async function isBeingMade(engine: Line, id: string): Promise<boolean> {
  try {
    const { status, text } = await ask(engine, { path: `/v1/responses/${id}` }, AbortSignal.timeout(ANSWER_MS));
    return status === 200 && /"status":\s*"(?:queued|in_progress)"/.test(text);
  } catch (error) {
    return error instanceof NoAnswer && error.kind === 'late';
  }
}
