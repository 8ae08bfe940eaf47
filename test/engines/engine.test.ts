// One engine's life, with a back-off of milliseconds: what cannot stay up is given up, and what was given up is not started behind anybody's back.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { as } from '../../src/domain.ts';
import { Engine, type EngineParts } from '../../src/engines/engine.ts';
import { LogFile } from '../../src/engines/log-file.ts';
import { endProcess, processOf } from '../../src/engines/processes.ts';
import type { EngineRow } from '../../src/registry/store.ts';
import { until } from '../gateway/harness.ts';
import { freePort, VLLM_LIKE } from './house.ts';

let home: string;
let log: LogFile;
let engine: Engine;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-engine-'));
  log = new LogFile(join(home, 'log'));
  await log.begin();
});
afterEach(async () => {
  await engine.close();
  await endProcess(engine.row.process, log, { graceMs: 0 });
  await rm(home, { recursive: true, force: true });
});

interface Heard {
  rows: EngineRow[];
  ends: number;
  neverReady: string[];
  ready: number;
  givenUp: number;
}

async function engineWith(
  flags: readonly string[],
  change: Partial<EngineRow> = {},
  { waitMs = 10_000, ...parts }: { waitMs?: number } & Partial<EngineParts> = {},
): Promise<Heard> {
  const port = await freePort();
  const heard: Heard = { rows: [], ends: 0, neverReady: [], ready: 0, givenUp: 0 };
  engine = new Engine({
    row: {
      name: as('mine'),
      phase: 'serving',
      spec: {
        argv: [...VLLM_LIKE, 'base', '--port', `${port}`, '--served-model-name', 'base', ...flags],
        ...{ url: `http://127.0.0.1:${port}`, base: 'base', model: 'my-model@1', slots: 1, waitMs },
      },
      ...{ process: undefined, about: undefined, who: 'a test', createdAtMs: Date.now() },
      ...change,
    },
    log,
    env: () => ({}),
    termMs: 500,
    backoff: { firstMs: 10, maxMs: 20, calmMs: 60_000, endsMax: 3 },
    save: (row) => void heard.rows.push(row),
    onReady: async () => void heard.ready++,
    onEnd: () => heard.ends++,
    onGivenUp: () => heard.givenUp++,
    onNeverReady: (about) => void heard.neverReady.push(about),
    logger: pino({ level: 'silent' }),
    nowMs: Date.now,
    ...parts,
  });
  return heard;
}

test('one that ends at once is given up after so many ends, with why', async () => {
  const heard = await engineWith(['--sim-exit', '5']);
  engine.begin();
  await until(() => engine.state.kind === 'failed', 10_000);
  const about = 'given up after it ended 3 times: it ended with code 5';
  expect([engine.state, heard.ends, engine.restarts, heard.givenUp]).toEqual([{ kind: 'failed', about }, 3, 2, 1]);
  expect(heard.rows.at(-1)).toMatchObject({ phase: 'failed', about });
  expect((await log.last(100)).filter((line) => line.includes('CUDA'))).toHaveLength(3);
});

test('one that was given up stays so when the gateway comes again', async () => {
  const heard = await engineWith([], { phase: 'failed', about: 'given up' });
  engine.resume();
  expect([engine.state, engine.pid]).toEqual([{ kind: 'failed', about: 'given up' }, undefined]);
  expect([await log.last(1), heard.rows]).toEqual([[], []]);
});

test('the first start has no second try', async () => {
  const heard = await engineWith(['--sim-exit', '5'], { phase: 'starting' });
  engine.begin();
  await until(() => heard.neverReady.length > 0, 10_000);
  expect([heard.neverReady, heard.ends, engine.restarts]).toEqual([['it ended with code 5'], 1, 0]);
});

test('one that is ended while it is being given up has only been ended', async () => {
  const heard = await engineWith(['--sim-silent', '--sim-deaf'], { phase: 'starting' }, { waitMs: 6_000 });
  engine.begin();
  await until(async () => (await log.last(1)).at(0) === 'SIGTERM, and it goes on', 15_000);
  await engine.end();
  expect([heard.neverReady, heard.givenUp, heard.rows.at(-1)?.phase]).toEqual([[], 0, 'stopping']);
}, 30_000);

test('a gateway that ends does not wait until what an engine has left behind is gone: the next one ends it', async () => {
  const left =
    '(trap "echo SIGTERM, and it goes on" TERM; echo begun; while :; do sleep 0.05; done) & sleep 0.5; exit 3';
  const spec = { argv: ['sh', '-c', left], url: `http://127.0.0.1:${await freePort()}`, base: 'base', model: 'm@1' };
  await engineWith([], { spec: { ...spec, waitMs: 10_000 } }, { termMs: 3_600_000 });
  engine.begin();
  await until(async () => (await log.last(1)).at(0) === 'SIGTERM, and it goes on', 10_000);
  await engine.close();
  expect(engine.row.process).toBeDefined();
});

test('nor until one has ended that somebody takes down: the next one ends it', async () => {
  const heard = await engineWith(['--sim-deaf'], {}, { termMs: 3_600_000 });
  engine.begin();
  await until(() => engine.state.kind === 'up', 10_000);
  const ended = expect(engine.end()).rejects.toMatchObject({ code: 'shutting_down' });
  await until(async () => (await log.last(1)).at(0) === 'SIGTERM, and it goes on', 10_000);
  await engine.close();
  await ended;
  expect([heard.rows.at(-1)?.phase, processOf(engine.row.process?.pid ?? 0)?.born]).toEqual([
    'stopping',
    engine.row.process?.born,
  ]);
});

test('one whose end could not be written down goes on as it was', async () => {
  let isFull = true;
  const save = ({ phase }: EngineRow) => {
    if (isFull && phase === 'stopping') throw new Error('the disk is full');
  };
  const heard = await engineWith(['--sim-start-ms', '1000'], { phase: 'starting' }, { save });
  engine.begin();
  await until(async () => (await log.last(1)).length > 0, 10_000);
  await expect(engine.end()).rejects.toThrow('full');
  await until(() => engine.state.kind === 'up', 10_000);
  expect(heard.ready).toBe(1);
  isFull = false;
});

test('one that ended is started again also where nothing can be written down', async () => {
  const save = () => {
    throw new Error('the disk is full');
  };
  await engineWith([], {}, { save });
  engine.begin();
  await until(() => engine.state.kind !== 'starting', 10_000);
  expect([engine.state.kind, engine.restarts, processOf(engine.pid ?? 0)?.pid]).toEqual(['up', 0, engine.pid]);
});

test('a clock that is set while it starts changes nothing in how long it may take', async () => {
  let jumpMs = 0;
  const nowMs = () => Date.now() + jumpMs;
  const heard = await engineWith(['--sim-start-ms', '1000'], { phase: 'starting' }, { waitMs: 60_000, nowMs });
  engine.begin();
  await until(async () => (await log.last(1)).length > 0, 10_000);
  jumpMs = 3_600_000;
  await until(() => engine.state.kind !== 'starting', 20_000);
  expect([engine.state.kind, heard.neverReady]).toEqual(['up', []]);
}, 30_000);

test('one that does not listen to SIGTERM is killed', async () => {
  const heard = await engineWith(['--sim-deaf'], { phase: 'starting' });
  engine.begin();
  await until(() => engine.state.kind === 'up', 10_000);
  expect(heard.ready).toBe(1);
  await engine.end();
  expect((await log.last(1)).at(0)).toBe('SIGTERM, and it goes on');
});
