// Promise: a refused caller is told to come again when those who wait now have had their turn, at the pace at which others had theirs.
import { expect, test } from 'vitest';
import { Pace } from '../../src/router/pace.ts';
import { Router } from '../../src/router/router.ts';
import { OPTIONS, parse } from './transcript.ts';

/** Refusals once a second while `perSecond` leave a queue of `waiting`; the last answer, seconds. */
function last({ waiting, perSecond, seconds }: { waiting: number; perSecond: number; seconds: number }): number {
  const pace = new Pace();
  let told = 0;
  for (let at = 0; at <= seconds; at++) {
    told = pace.retryAfterS({ waiting, gone: at * perSecond, now: 500_000 + at * 1_000 });
  }
  return told;
}

test.each([
  [{ waiting: 10, perSecond: 10, seconds: 30 }, 1],
  [{ waiting: 100, perSecond: 10, seconds: 30 }, 10],
  [{ waiting: 10_000, perSecond: 1_000, seconds: 8 }, 10],
  [{ waiting: 59, perSecond: 1, seconds: 1_000 }, 55],
  [{ waiting: 10_000, perSecond: 10, seconds: 30 }, 60],
  [{ waiting: 5, perSecond: 0, seconds: 3 }, 15],
  [{ waiting: 5, perSecond: 0, seconds: 1_000 }, 51],
])('%j: %i s', (queue, expected) => {
  const told = last(queue);
  expect(Math.abs(told - expected)).toBeLessThanOrEqual(2);
  expect(told).toBeGreaterThanOrEqual(1);
  expect(told).toBeLessThanOrEqual(60);
});

test('what went long ago, or how little, says nothing: the first refusal after a quiet time is told 1 s', () => {
  const pace = new Pace();
  expect(pace.retryAfterS({ waiting: 100, gone: 0, now: 1_000 })).toBe(1);
  expect(pace.retryAfterS({ waiting: 100, gone: 5, now: 3_600_000 })).toBe(1);
  expect(pace.retryAfterS({ waiting: 100, gone: 25, now: 3_602_000 })).toBe(10);
});

test('the pace of the last seconds counts: a queue that moves faster is told so within two windows', () => {
  const pace = new Pace();
  let gone = 0;
  const after: number[] = [];
  for (let second = 0; second < 60; second++) {
    gone += second < 30 ? 1 : 50;
    after.push(pace.retryAfterS({ waiting: 100, gone, now: second * 1_000 }));
  }
  expect(after[29]).toBe(60);
  expect(after[59]).toBeLessThanOrEqual(3);
});

test('the router tells it to whom it refuses: twenty wait for an engine that runs one at a time, four a second', () => {
  const router = new Router({ ...OPTIONS, queueMax: 20, waitMsMax: 60_000 });
  const told: (number | undefined)[] = [];
  const step = (text: string, now: number) => {
    for (const effect of router.step(parse(text), now)) if (effect.type === 'reject') told.push(effect.retryAfterS);
  };
  step('up gpu-0 runningMax=1', 0);
  for (let ticket = 0; ticket <= 80; ticket++) {
    const now = ticket * 125;
    step(`arrived ${ticket} base`, now);
    if (ticket % 2 === 1) step(`ended ${(ticket - 1) / 2}`, now);
  }
  expect(told.length).toBeGreaterThan(10);
  expect(told[0]).toBe(1);
  expect(told.at(-1)).toBe(5);
});
