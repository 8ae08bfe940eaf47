// Promise: what is remembered of callers and adapters, to be fair and to foresee, does not grow with their number.
import { expect, test } from 'vitest';
import { type AdapterId, as } from '../../src/domain.ts';
import { Demand } from '../../src/router/demand.ts';
import { Router } from '../../src/router/router.ts';
import { OPTIONS, parse } from '../router/transcript.ts';

test('how often 16,384 adapters were asked for; of one more, the first is forgotten', () => {
  const demand = new Demand();
  const adapter = (index: number) => as<AdapterId>(`m@${index}`);
  for (let index = 0; index < 16_384; index++) demand.note(adapter(index), index);
  expect(demand.of(adapter(0), 16_384)).toBeGreaterThan(0);
  demand.note(adapter(16_384), 16_384);
  expect(demand.of(adapter(0), 16_384)).toBe(0);
  expect(demand.of(adapter(1), 16_384)).toBeGreaterThan(0);
});

test('when 4,096 tenants had their last turn on an engine, however many come', () => {
  const router = new Router(OPTIONS);
  const step = (text: string, now: number) => router.step(parse(text), now);
  step('up gpu-0 runningMax=1', 0);
  step('arrived 0 base', 0);
  const sizes: number[] = [];
  for (let ticket = 1; ticket <= 9_000; ticket++) {
    step(`arrived ${ticket} base tenant=t${ticket}`, ticket);
    step(`ended ${ticket - 1}`, ticket);
    for (const { turns } of router.state.backends.values()) sizes.push(turns.size);
  }
  expect(Math.max(...sizes)).toBe(4_096);
});
