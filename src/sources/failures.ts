// How a fetch fails: for good, or broken off, when what is there is kept and the next try goes on from it. And how often one is tried.
import { setTimeout as sleep } from 'node:timers/promises';
import { StepgateError } from '../errors.ts';

/** The network's or the server's moment: it may well come about if it is asked again. */
export class BrokenOff extends StepgateError {
  constructor(message: string, cause?: unknown) {
    super('source_failed', message, { param: 'source', ...(cause === undefined ? {} : { cause }) });
  }
}

export const failed = (message: string): StepgateError =>
  new StepgateError('source_failed', message, { param: 'source' });

export interface Tries {
  readonly signal: AbortSignal;
  /** Between the tries; one more is made than there are pauses. */
  readonly pausesMs: readonly number[];
}

export const PAUSES_MS: readonly number[] = [500, 2_000];

/**
 * Tries again what was broken off, after a pause, until so many in a row have brought nothing (`progressed`: the last one has).
 * @throws what the last try threw, or the signal's reason
 */
export async function withTries<T>(
  attempt: () => Promise<T>,
  { signal, pausesMs }: Tries,
  progressed: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      failures = progressed() ? 0 : failures + 1;
      const pauseMs = pausesMs[Math.max(0, failures - 1)];
      if (!(error instanceof BrokenOff) || pauseMs === undefined) throw error;
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }
}

/** In words for people; undici puts what happened into the cause. */
export function sayNetwork(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const { code, message } = cause as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name is not known';
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return 'no answer in time';
    default:
      return message ?? String(error);
  }
}

/** As the promise, or the signal's reason if that comes first. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let leave = () => {};
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
  });
  return Promise.race([promise, left]).finally(() => signal.removeEventListener('abort', leave));
}
