// One engine server through its life, as the shell hears of it. The engine is the simulated one, or a raw stand-in where that is too well behaved.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Backend, type BackendOptions } from '../../src/backends/backend.ts';
import { as, type BackendName, type Weights } from '../../src/domain.ts';
import { type SimOptions, startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { weightsAt } from './playing.ts';
import { deadUrl, type Reply, standIn } from './stand-in.ts';

/** Long enough that only the looks which a test asks for are taken. */
const NEVER_MS = 3_600_000;

let dir = '';
const adapters = new Map<number, Weights>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'stepgate-backend-'));
  for (const step of [5, 6]) {
    const path = await writeCheckpoint({ dir, step });
    adapters.set(step, weightsAt(path, step));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const closing = (json: unknown): Reply => {
  return (response) => response.writeHead(200, { connection: 'close' }).end(JSON.stringify(json));
};
/** The least that an engine says, each time on another connection. */
const PLAIN: Record<string, Reply> = {
  'GET /health': closing(''),
  'GET /v1/models': closing({ object: 'list', data: [{ id: 'base', root: 'base', parent: null, max_model_len: 8 }] }),
};

function adapterOf(step: number): Weights {
  const adapter = adapters.get(step);
  if (adapter === undefined) throw new Error(`no adapter of step ${step}`);
  return adapter;
}

type Changes = Partial<Pick<BackendOptions, 'slots' | 'deadlines' | 'probe'>>;

/** A backend and what it has reported so far, one line each. */
function watch(url: string, changes: Changes = {}) {
  const said: string[] = [];
  const waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  const say = (line: string) => {
    said.push(line);
    for (const waiter of waiting) if (waiter.pattern.test(line)) waiter.resolve(line);
  };
  const backend = new Backend({
    name: as<BackendName>('gpu-0'),
    url,
    kind: 'vllm',
    deadlines: { connectMs: 1_000, loadMs: 5_000 },
    probe: { everyMs: NEVER_MS, timeoutMs: 2_000 },
    report: {
      onUp: ({ slots, adapters: held }, about) => say(`up ${slots} [${[...(held?.keys() ?? [])]}] ${about}`),
      onDown: (about) => say(`down ${about}`),
      onObserved: ({ slots, adapters: held }) => say(`observed ${slots} [${[...(held?.keys() ?? [])]}]`),
    },
    ...changes,
  });
  onTestFinished(() => backend.close());
  /** The next such line from now on. */
  const next = (pattern: RegExp) => new Promise<string>((resolve) => waiting.push({ pattern, resolve }));
  return { backend, said, next };
}

async function simulated(options: SimOptions = {}, changes: Changes = {}) {
  const sim = await startSim({ loadMs: 5, firstTokenMs: 1, tokenMs: 1, ...options });
  onTestFinished(() => sim.close());
  return { sim, ...watch(sim.url, changes) };
}

describe('an engine', () => {
  test('is up with the slots that it was made to tell', async () => {
    const { backend, said } = await simulated({ maxLoras: 3 });
    await backend.start();
    expect(said).toEqual(['up 3 [] vllm 0.32.0, base base, 3 slots']);
    expect(backend).toMatchObject({ isUp: true, about: 'vllm 0.32.0, base base, 3 slots' });
  });

  test('is not asked for slots that the config names', async () => {
    const { sim, backend, said } = await simulated({ maxLoras: 3 }, { slots: 2 });
    await backend.start();
    expect(said).toEqual([expect.stringMatching(/^up 2 /)]);
    expect(sim.stats().requests).toBe(0);
  });

  test('that is not there is down, with the reason once, and comes up by itself later', async () => {
    const { sim, backend, said, next } = await simulated({}, { probe: { everyMs: 20, timeoutMs: 2_000 } });
    sim.refuse();
    await backend.start();
    await backend.probeNow();
    expect(said).toEqual([expect.stringMatching(/^down no connection to .*is the engine running there\?$/)]);
    const up = next(/^up /);
    await sim.accept();
    await up;
    await next(/^observed /);
  });

  test('is not an engine: the reason says so, and changes when it does', async () => {
    const server = await standIn({});
    const { backend, said } = watch(server.url);
    await backend.start();
    server.routes.set('GET /health', { status: 503, text: '' });
    await backend.probeNow();
    expect(said).toEqual([
      expect.stringMatching(/^down .*not as vLLM does \(GET \/v1\/models gave 404\)/),
      expect.stringMatching(/^down .*its engine has died/),
    ]);
  });

  test('that does not answer one probe in time is not down; after two it is', async () => {
    const { sim, backend, said } = await simulated({}, { probe: { everyMs: NEVER_MS, timeoutMs: 100 } });
    await backend.start();
    sim.fault('models', { kind: 'hang' }, 1);
    await backend.probeNow();
    await backend.probeNow();
    expect(said.slice(1)).toEqual(['observed 2 []']);
    sim.fault('models', { kind: 'hang' }, 2);
    await backend.probeNow();
    await backend.probeNow();
    expect(said.slice(2)).toEqual([expect.stringMatching(/^down .* did not answer in time$/)]);
  });

  test('whose port refuses is down at once', async () => {
    const server = await standIn(PLAIN);
    const { backend, said } = watch(server.url);
    await backend.start();
    await server.close();
    await backend.probeNow();
    expect(said).toEqual([
      expect.stringMatching(/^up /),
      expect.stringMatching(/^down no connection to .*ECONNREFUSED/),
    ]);
  });

  test('that refused a request is down until it is asked again: a look from before does not count', async () => {
    const { sim, backend, said } = await simulated();
    await backend.start();
    sim.fault('models', { kind: 'late', ms: 50 });
    const before = backend.probeNow();
    backend.suspect('no connection');
    await before;
    expect(said.slice(1)).toEqual(['down no connection']);
    await backend.probeNow();
    expect(said.slice(2)).toEqual([expect.stringMatching(/^up 2 /)]);
  });

  test('that was restarted between two looks is down and then up, without its adapters', async () => {
    const { sim, backend, said } = await simulated();
    await backend.start();
    await backend.load(adapterOf(5));
    await backend.probeNow();
    await sim.restart();
    // Connections to the old process broke: a first look may find only that.
    while (said.length < 4) await backend.probeNow();
    expect(said).toEqual([
      expect.stringMatching(/^up 2 \[\] /),
      'observed 2 [my-model@5]',
      expect.stringMatching(/^down .*was restarted$/),
      expect.stringMatching(/^up 2 \[\] /),
    ]);
  });

  test('is looked at once at a time, however often a look is asked for', async () => {
    const { backend, said } = await simulated();
    await Promise.all([backend.start(), backend.probeNow(), backend.probeNow()]);
    expect(said).toHaveLength(1);
  });
});

describe('a load', () => {
  test('is done, and done again without harm; so is an unload', async () => {
    const { sim, backend } = await simulated();
    await backend.start();
    expect(await backend.load(adapterOf(5))).toEqual({ kind: 'loaded' });
    expect(await backend.load(adapterOf(5))).toEqual({ kind: 'loaded' });
    expect([...sim.stats().adapters]).toEqual([['my-model@5', adapterOf(5).path]]);
    expect(await backend.unload(adapterOf(5).id)).toEqual({ kind: 'unloaded' });
    expect(await backend.unload(adapterOf(5).id)).toEqual({ kind: 'unloaded' });
    expect([...sim.stats().adapters]).toEqual([]);
  });

  test('of a name that is held from another path fails', async () => {
    const { backend } = await simulated();
    await backend.start();
    await backend.load({ ...adapterOf(5), path: adapterOf(6).path });
    expect(await backend.load(adapterOf(5))).toMatchObject({ kind: 'failed', fault: 'backend' });
  });

  test.each(['lost', 'reset'] as const)('whose answer was %s is settled before anybody hears of it', async (kind) => {
    const { sim, backend } = await simulated();
    await backend.start();
    sim.fault('load', { kind });
    expect(await backend.load(adapterOf(5))).toEqual({ kind: 'loaded' });
    expect([...sim.stats().adapters.keys()]).toEqual(['my-model@5']);
    sim.fault('unload', { kind });
    expect(await backend.unload(adapterOf(5).id)).toEqual({ kind: 'unloaded' });
    expect([...sim.stats().adapters.keys()]).toEqual([]);
  });

  test('that takes longer than its deadline is loaded when the engine says so', async () => {
    const { sim, backend } = await simulated({ loadMs: 400 }, { deadlines: { connectMs: 1_000, loadMs: 100 } });
    await backend.start();
    expect(await backend.load(adapterOf(5))).toEqual({ kind: 'loaded' });
    expect([...sim.stats().adapters.keys()]).toEqual(['my-model@5']);
  });

  test('is settled by the list where the engine never gives an answer', async () => {
    const { sim, backend } = await simulated({}, { deadlines: { connectMs: 1_000, loadMs: 100 } });
    await backend.start();
    sim.fault('load', { kind: 'lost' }, 1);
    sim.fault('load', { kind: 'hang' }, Number.POSITIVE_INFINITY);
    expect(await backend.load(adapterOf(5))).toEqual({ kind: 'loaded' });
  });

  test('under way when the engine dies fails, and is not tried on its successor', async () => {
    const { sim, backend, said } = await simulated();
    await backend.start();
    sim.fault('load', { kind: 'hang' });
    const loading = backend.load(adapterOf(5));
    await sim.restart();
    while (!said.some((line) => line.startsWith('down'))) await backend.probeNow();
    expect(await loading).toMatchObject({ kind: 'failed', fault: 'backend', message: /^the engine is down/ });
    expect(sim.stats().loadCalls.size).toBe(0);
  });

  test('on an engine that is down fails without being tried', async () => {
    const { backend } = watch(await deadUrl());
    await backend.start();
    expect(await backend.load(adapterOf(5))).toMatchObject({ kind: 'failed', fault: 'backend' });
  });

  test('that finds the engine gone has it noticed now', async () => {
    const { sim, backend, next } = await simulated();
    await backend.start();
    const down = next(/^down /);
    sim.kill();
    expect(await backend.load(adapterOf(5))).toMatchObject({ kind: 'failed', fault: 'backend' });
    await down;
  });
});

test('close ends a load and a look that hang, and nothing is reported afterwards', async () => {
  const { sim, backend, said } = await simulated();
  await backend.start();
  sim.fault('load', { kind: 'hang' });
  sim.fault('models', { kind: 'hang' });
  const loading = backend.load(adapterOf(5));
  const looking = backend.probeNow();
  await backend.close();
  expect(await loading).toMatchObject({ kind: 'failed' });
  await looking;
  expect(said).toHaveLength(1);
});

test('a base that takes no completions leaves one slot, and the reason in words', async () => {
  const { backend, said } = watch((await standIn(PLAIN)).url);
  await backend.start();
  expect(said).toEqual([expect.stringMatching(/^up 1 \[\] vllm, base base, 1 slot; the engine does not say/)]);
});
