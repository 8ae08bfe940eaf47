// How many requests an engine is given: said, or learned from its gauges.
import { describe, expect, test } from 'vitest';
import { RunningLimit } from '../../src/router/running-limit.ts';

/** An engine that runs `capacity` at once, asked while as many of ours are there as the limit lets. */
function settle(limit: RunningLimit, capacity: number, looks = 40): number[] {
  return Array.from({ length: looks }, () => {
    const inFlight = limit.max;
    const running = Math.min(capacity, inFlight);
    limit.learn({ running, waiting: inFlight - running }, inFlight);
    return limit.max;
  });
}

describe('the limit of what runs at once', () => {
  test.each([16, 100, 256, 300, 1000, 4096])('comes to rest a little above what an engine runs: %d', (capacity) => {
    const limit = new RunningLimit();
    const last = settle(limit, capacity).slice(-10);
    expect(new Set(last).size).toBe(1);
    expect(last[0]).toBeGreaterThanOrEqual(capacity);
    expect(last[0]).toBeLessThanOrEqual(Math.ceil(capacity * 1.5));
  });

  test('falls by a quarter at most for one look: a burst of long prompts queues too', () => {
    const limit = new RunningLimit();
    limit.learn({ running: 3, waiting: 250 }, 256);
    expect(limit.max).toBe(192);
  });

  test('says nothing about an engine that is not near it', () => {
    const limit = new RunningLimit();
    limit.learn({ running: 10, waiting: 90 }, 100);
    limit.learn({ running: 0, waiting: 0 }, 100);
    expect(limit.max).toBe(256);
  });

  test('an engine without statistics teaches nothing', () => {
    const limit = new RunningLimit();
    limit.learn({ running: 0, waiting: 0 }, 256);
    expect(limit.max).toBe(256);
  });

  test('what the config says holds, until the engine comes up without it', () => {
    const limit = new RunningLimit();
    limit.fix(4);
    limit.learn({ running: 4, waiting: 0 }, 4);
    expect([limit.max, limit.of('interactive'), limit.of('rollout'), limit.of('eval')]).toEqual([4, 4, 3, 3]);
    limit.fix(undefined);
    expect(limit.max).toBe(256);
  });

  test('every class may run where one may', () => {
    const limit = new RunningLimit();
    limit.fix(1);
    expect([limit.of('interactive'), limit.of('rollout'), limit.of('eval')]).toEqual([1, 1, 1]);
  });
});
