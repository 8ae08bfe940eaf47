// Callers that come when they come, however many have not been answered (an open loop): with callers that wait for each other, there is no overload.
import { setTimeout } from 'node:timers/promises';
import { type Agent, request } from 'undici';
import type { Random } from '../../test/random.ts';

export interface Load {
  readonly url: string;
  /** Its connections stay from one load to the next. */
  readonly dispatcher: Agent;
  readonly perSecond: number;
  readonly seconds: number;
  readonly random: Random;
}

export interface Answered {
  readonly status: number;
  /** From when it was due to be sent to the end of its answer. */
  readonly tookMs: number;
  /** Seconds; undefined: not told. */
  readonly retryAfterS: number | undefined;
}

const BODY = JSON.stringify({ model: 'base', prompt: 'hello' });
const HEADERS = { 'content-type': 'application/json', 'x-stepgate-class': 'interactive' };

/** Resolves when all are answered. Gaps are drawn, so that they come in no rhythm (exponential: a Poisson process). */
export async function send({ url, dispatcher, perSecond, seconds, random }: Load): Promise<readonly Answered[]> {
  const under: Promise<Answered>[] = [];
  const from = performance.now();
  for (let dueMs = 0; dueMs < seconds * 1000; dueMs += (-Math.log(1 - random.next()) * 1000) / perSecond) {
    const late = performance.now() - from;
    if (dueMs > late) await setTimeout(dueMs - late);
    under.push(ask(`${url}/v1/completions`, { dispatcher, dueAt: from + dueMs }));
  }
  return Promise.all(under);
}

async function ask(url: string, { dispatcher, dueAt }: { dispatcher: Agent; dueAt: number }): Promise<Answered> {
  const { statusCode, headers, body } = await request(url, {
    dispatcher,
    method: 'POST',
    headers: HEADERS,
    body: BODY,
  });
  await body.dump();
  const told = headers['retry-after'];
  const retryAfterS = told === undefined ? undefined : Number(told);
  return { status: statusCode, tookMs: performance.now() - dueAt, retryAfterS };
}
