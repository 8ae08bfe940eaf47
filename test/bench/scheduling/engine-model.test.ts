// The engine model against what it is calibrated with: the published table, and what a running vLLM was seen to do.
import { expect, test } from 'vitest';
import { distinctExpected, LOCAL_DISK, VLLM_8B } from '../../../bench/scheduling/costs.ts';
import { EngineModel, type Job } from '../../../bench/scheduling/engine-model.ts';
import type { Residency } from '../../../bench/scheduling/types.ts';
import { type AdapterId, as, type TicketId } from '../../../src/domain.ts';
import { seeded } from '../../random.ts';

interface Log {
  readonly engine: EngineModel;
  readonly startedAt: Map<number, number>;
  readonly endedAt: Map<number, number>;
  readonly loadedAt: Map<string, number>;
}

function engineOf(slots: number, residency: Residency = 'engine', load = LOCAL_DISK): Log {
  const [startedAt, endedAt, loadedAt] = [
    new Map<number, number>(),
    new Map<number, number>(),
    new Map<string, number>(),
  ];
  const engine = new EngineModel(
    { costs: VLLM_8B, load, slots, residency },
    {
      started: ({ ticket }, now) => startedAt.set(ticket, now),
      firstToken: () => {},
      ended: ({ ticket }, now) => endedAt.set(ticket, now),
      loaded: (adapter, now) => loadedAt.set(adapter, now),
    },
  );
  return { engine, startedAt, endedAt, loadedAt };
}

const adapter = (index: number): AdapterId => as<AdapterId>(`a@${index}`);

const job = (ticket: number, of: number, outputTokens: number, promptTokens = 0): Job => ({
  ticket: as<TicketId>(ticket),
  adapter: adapter(of),
  promptTokens,
  outputTokens,
  prefix: undefined,
  rank: 0,
});

function runUntil(engine: EngineModel, until = Number.POSITIVE_INFINITY): void {
  while (engine.nextAt < until && engine.nextAt !== Number.POSITIVE_INFINITY) engine.fire();
}

test.each([
  { population: 1, tableMs: 35.4 },
  { population: 32, tableMs: 45.7 },
  { population: 64, tableMs: 54.8 },
  { population: 128, tableMs: 70 },
  { population: 300, tableMs: 86.6 },
])(
  'a batch of 220 over $population adapters decodes at $tableMs ms a token, within 10 %',
  ({ population, tableMs }) => {
    const free = { fetchMs: 0, readMs: 0, cpuMs: 0, cpuAdapters: 1000 };
    const { engine, endedAt } = engineOf(512, 'engine', free);
    const random = seeded(7);
    for (let ticket = 0; ticket < 220; ticket++) engine.submit(job(ticket, random.below(population), 1000), 0);
    runUntil(engine);
    const itlMs = (endedAt.get(0) ?? Number.NaN) / 1000;
    expect(itlMs / tableMs).toBeGreaterThan(0.9);
    expect(itlMs / tableMs).toBeLessThan(1.1);
  },
);

test('without LoRA a batch of 220 decodes at 17.5 ms a token, and the table is met by the expected distinct adapters', () => {
  expect(VLLM_8B.itlMs(220, 0)).toBeCloseTo(17.5);
  expect(distinctExpected(220, 300)).toBeCloseTo(156, 0);
  expect(VLLM_8B.itlMs(220, distinctExpected(220, 300)) / 86.6).toBeCloseTo(1, 1);
});

test('a prompt costs its tokens, and those who decode beside it get one token per chunk', () => {
  const { engine, startedAt, endedAt } = engineOf(1, 'engine', { ...LOCAL_DISK, readMs: 0 });
  engine.submit(job(0, 0, 3), 0);
  engine.submit(job(1, 0, 1, 4096), 0);
  runUntil(engine);
  const chunkMs = 204.8 + VLLM_8B.itlMs(2, 1);
  expect(startedAt.get(1)).toBe(0);
  // Two chunks give two tokens, the third comes at the plain rate.
  expect(endedAt.get(0)).toBeCloseTo(2 * chunkMs + VLLM_8B.itlMs(2, 1));
});

test('a load stalls those who decode for as long as it takes', () => {
  const { engine, endedAt, loadedAt } = engineOf(2, 'api');
  engine.slots.arrived(adapter(0));
  engine.submit(job(0, 0, 10), 0);
  runUntil(engine, 20);
  engine.slots.reserve(adapter(1));
  engine.load(adapter(1), 20);
  runUntil(engine);
  expect(loadedAt.get('a@1')).toBeCloseTo(20 + LOCAL_DISK.readMs);
  expect(endedAt.get(0)).toBeCloseTo(10 * VLLM_8B.itlMs(1, 1) + LOCAL_DISK.readMs);
});

test('what left its slot comes back from the CPU cache when the engine swaps, and from disk when it was unloaded over the API', () => {
  const swapped = engineOf(1);
  for (const [ticket, of] of [0, 1, 0].entries()) {
    swapped.engine.submit(job(ticket, of, 1), 10_000 * ticket);
    runUntil(swapped.engine);
  }
  expect([swapped.engine.slots.loads, swapped.engine.slots.diskLoads]).toEqual([3, 2]);
  const commanded = engineOf(1, 'api');
  for (const [turn, of] of [0, 1, 0].entries()) {
    commanded.engine.load(adapter(of), 10_000 * turn);
    runUntil(commanded.engine);
    commanded.engine.slots.drop(adapter(of));
  }
  expect([commanded.engine.slots.loads, commanded.engine.slots.diskLoads]).toEqual([3, 3]);
});

test('the adapter number max_loras + 1 waits for as long as two others keep coming, and runs when they stop', () => {
  const { engine, startedAt, endedAt } = engineOf(2);
  const stranger = 1_000_000;
  for (let ticket = 0; ticket < 12; ticket++) engine.submit(job(ticket, ticket % 2, 4), 0);
  engine.submit(job(stranger, 2, 4), 1);
  let sent = 12;
  let over = 0;
  while (engine.nextAt < 25_000) {
    engine.fire();
    for (; over < endedAt.size; over++, sent++)
      engine.submit(
        job(sent, sent % 2, 4),
        engine.nextAt === Number.POSITIVE_INFINITY ? 25_000 : ([...endedAt.values()].at(-1) ?? 0),
      );
  }
  expect(startedAt.has(stranger)).toBe(false);
  expect(over).toBeGreaterThan(400);
  runUntil(engine);
  expect(endedAt.has(stranger)).toBe(true);
});
