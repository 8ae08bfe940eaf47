// The scenes. A crowd keeps as many adapters busy as there are slots, and one request at a time asks for one more: how long does that one wait for
// its first token, and what does the crowd get meanwhile? And two crowds side by side on one engine: what does the way through a gateway cost?
import { setTimeout } from 'node:timers/promises';
import { seeded } from '../../test/random.ts';
import { type Answer, ask, Crowd } from './callers.ts';
import type { Door } from './doors.ts';

/** The third asks once the others are in full swing, or first of all, together with their first requests. */
export const CASES = ['late', 'at once'] as const;
export type Case = (typeof CASES)[number];

export interface Plan {
  /** For each busy adapter. */
  readonly clients: number;
  /** How long a crowd alone is watched, s. */
  readonly aloneS: number;
  /** Requests of the third, one after the other. */
  readonly asks: number;
  /** Between an answer of the third and its next request, s. */
  readonly pauseS: number;
  /** A request of the third that has no token by then has starved, and the scene is over, s. */
  readonly limitS: number;
  readonly seed: number;
  readonly class?: string | undefined;
}

/** What a crowd got over some seconds. */
export interface Watched {
  readonly seconds: number;
  /** Requests per second. */
  readonly perSecond: number;
  /** Of those that ended, ms. */
  readonly firstTokenMs: readonly number[];
}

export interface Scene {
  /** Before the third asked, in the same scene; undefined where it asked at once. */
  readonly alone: Watched | undefined;
  /** From the third's first request to the end of its last. */
  readonly beside: Watched;
  /** The longest that an answer of the crowd took from its first token to its end, ms: a slot that is drained serves that long at most. */
  readonly runMsMax: number;
  readonly third: readonly Third[];
}

export interface Third {
  /** Until the first token, ms; undefined: starved. */
  readonly waitMs: number | undefined;
  /** Requests of the crowd that came after it, and were answered before its first token. */
  readonly overtaken: number;
}

const THIRD_TOKENS = 16;

export async function play(door: Door, kind: Case, plan: Plan): Promise<Scene> {
  const [third = '', ...models] = door.models;
  await warm(door);
  const first = kind === 'at once' ? askThird(door, third, plan) : undefined;
  const crowd = new Crowd(door.url, { models, clients: plan.clients, random: seeded(plan.seed) });
  const alone = kind === 'at once' ? undefined : await watchAlone([crowd], plan);
  const from = performance.now();
  const asked = [await (first ?? askThird(door, third, plan))];
  while (asked.length < plan.asks && asked.at(-1)?.firstTokenMs !== undefined) {
    await setTimeout(plan.pauseS * 1000);
    asked.push(await askThird(door, third, plan));
  }
  const to = performance.now();
  await crowd.leave();
  const { answers } = crowd;
  return {
    alone: alone && watched(answers, alone),
    beside: watched(answers, { from, to }),
    runMsMax: Math.max(...answers.map(({ sentAt, endedAt, firstTokenMs = 0 }) => endedAt - sentAt - firstTokenMs)),
    third: asked.map((one) => ({ waitMs: one.firstTokenMs, overtaken: overtaking(answers, one) })),
  };
}

/**
 * Half of the clients ask a gateway, half the engine behind it, for the same adapters at the same time: whatever else slows it slows both.
 * An adapter whose files were never replaced has one name at both. Lengths are drawn alike, so that neither gets the longer ones.
 */
export async function playSides(
  { gateway, engine }: { gateway: Door; engine: { readonly url: string } },
  plan: Plan,
): Promise<{ straight: Watched; stepgate: Watched }> {
  await warm(gateway);
  const models = gateway.models.slice(1);
  const half = { models, clients: Math.ceil(plan.clients / 2) };
  const straight = new Crowd(engine.url, { ...half, random: seeded(plan.seed) });
  const stepgate = new Crowd(gateway.url, { ...half, random: seeded(plan.seed) });
  const span = await watchAlone([straight, stepgate], plan);
  await Promise.all([straight.leave(), stepgate.leave()]);
  return { straight: watched(straight.answers, span), stepgate: watched(stepgate.answers, span) };
}

/** Weights at hand, and the slots with those who are about to need them. */
async function warm({ url, models }: Door): Promise<void> {
  for (const model of models) await ask(url, { model, tokens: 2 });
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** Once each client has had two answers. */
async function watchAlone(crowds: readonly Crowd[], { aloneS }: Plan): Promise<Span> {
  await Promise.all(crowds.map((crowd) => crowd.until(2 * crowd.clients)));
  const from = performance.now();
  await setTimeout(aloneS * 1000);
  return { from, to: performance.now() };
}

const askThird = ({ url }: Door, model: string, { limitS, class: kind }: Plan): Promise<Answer> =>
  ask(url, { model, tokens: THIRD_TOKENS, limitMs: limitS * 1000, class: kind });

function watched(answers: readonly Answer[], { from, to }: Span): Watched {
  const ended = answers.filter(({ endedAt }) => endedAt >= from && endedAt < to);
  // A request that lies partly within counts as that part: whole ones alone would count too few, or too many that had begun before.
  const parts = answers.map(({ sentAt, endedAt }) => {
    const withinMs = Math.min(endedAt, to) - Math.max(sentAt, from);
    return Math.max(0, withinMs) / (endedAt - sentAt);
  });
  const seconds = (to - from) / 1000;
  return {
    seconds,
    perSecond: parts.reduce((sum, part) => sum + part, 0) / seconds,
    firstTokenMs: ended.flatMap(({ firstTokenMs }) => firstTokenMs ?? []),
  };
}

function overtaking(crowd: readonly Answer[], { sentAt, endedAt, firstTokenMs }: Answer): number {
  const until = firstTokenMs === undefined ? endedAt : sentAt + firstTokenMs;
  return crowd.filter((other) => other.sentAt > sentAt && other.endedAt < until).length;
}
