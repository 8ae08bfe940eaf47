// When the store is swept: never while an engine may still read, soon after it cannot.
import pino from 'pino';
import { expect, test } from 'vitest';
import { StoreKeeper } from '../../src/store-keeper.ts';

const GRACE_MS = 1000;

function keeper() {
  const world = { nowMs: 0, inUse: new Set<string>(), allSeen: true, swept: [] as string[][] };
  const keeper = new StoreKeeper({
    sweep: async (inUse) => {
      world.swept.push([...inUse].sort());
      return 1;
    },
    inUse: () => world.inUse,
    allSeen: () => world.allSeen,
    graceMs: GRACE_MS,
    nowMs: () => world.nowMs,
    log: pino({ level: 'silent' }),
  });
  return { keeper, world };
}

test('what an engine holds is spared, and for as long again as a request may live after it let go', async () => {
  const { keeper: it, world } = keeper();
  world.inUse = new Set(['a', 'b']);
  await it.sweep();
  world.inUse = new Set(['b']);
  world.nowMs = GRACE_MS - 1;
  await it.sweep();
  world.nowMs = GRACE_MS;
  await it.sweep();
  expect(world.swept).toEqual([['a', 'b'], ['a', 'b'], ['b']]);
});

test('what was in use when it was deleted is spared, though it is let go before the sweep', async () => {
  const { keeper: it, world } = keeper();
  world.inUse = new Set(['a']);
  const first = it.sweep();
  world.inUse = new Set(['b']);
  const second = it.sweep();
  world.inUse = new Set();
  await Promise.all([first, second]);
  expect(world.swept.at(-1)).toEqual(['a', 'b']);
  expect(world.swept).toHaveLength(2);
});

test('nothing is swept before every engine said what it holds, or no request from before the start can be left', async () => {
  const { keeper: it, world } = keeper();
  world.allSeen = false;
  await it.sweep();
  expect(world.swept).toEqual([]);
  world.nowMs = GRACE_MS;
  await it.sweep();
  expect(world.swept).toHaveLength(1);
});

test('a sweep that fails is tried again at the next one', async () => {
  let fails = true;
  const it = new StoreKeeper({
    sweep: async () => {
      if (fails) throw new Error('EIO');
      return 0;
    },
    inUse: () => [],
    allSeen: () => true,
    graceMs: GRACE_MS,
    nowMs: () => 0,
    log: pino({ level: 'silent' }),
  });
  await it.sweep();
  fails = false;
  await it.sweep();
  await it.close();
});
