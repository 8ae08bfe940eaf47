// What it costs to watch a directory of 10,000 steps: the first scan, how soon a new step is known while the backlog is taken, the CPU when
// nothing happens, and how fast a trainer may rotate before a checkpoint is lost. Real files, the real registry.
// node bench/registry/discovery.ts [--steps N] [--idle-s N]
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { as, type ModelName } from '../../src/domain.ts';
import { watchDirectory } from '../../src/registry/discovery.ts';
import { hf } from '../../src/registry/layouts/hf.ts';
import { Registry } from '../../src/registry/registry.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '10000' }, 'idle-s': { type: 'string', default: '60' } },
});
const STEPS = Number(values.steps);
const IDLE_MS = Number(values['idle-s']) * 1000;
/** The gateway's defaults. */
const RESCAN_MS = 5_000;
const SETTLE_MS = 2_000;
const TINY = { rank: 1, layers: 1, hidden: 8 };

const home = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
try {
  const runs = await fill(join(home, 'runs'));
  await firstScan(runs);
  await idle(runs);
  await backlog(runs);
  await rotation();
} finally {
  await rm(home, { recursive: true, force: true });
}

function say(what: string, figure: string): void {
  console.log(`${what.padEnd(64)} ${figure}`);
}

async function fill(runs: string): Promise<string> {
  for (let step = 1; step <= STEPS; step++) await writeCheckpoint({ dir: runs, step, ...TINY });
  return runs;
}

/** Finding and judging alone: what is found is taken at once. */
async function firstScan(dir: string): Promise<void> {
  const stop = new AbortController();
  const startMs = performance.now();
  let found = 0;
  const all = Promise.withResolvers<void>();
  const done = watchDirectory({
    ...{ dir, layout: hf, settleMs: SETTLE_MS, rescanMs: RESCAN_MS, signal: stop.signal },
    isKnown: () => false,
    onFound: async () => {
      if (++found === STEPS) all.resolve();
    },
    onProblem: console.error,
  });
  await all.promise;
  say(`first scan of ${STEPS} steps, found and judged`, seconds(performance.now() - startMs));
  stop.abort();
  await done;
}

async function idle(dir: string): Promise<void> {
  const stop = new AbortController();
  let asked = 0;
  const all = Promise.withResolvers<void>();
  const startMs = performance.now();
  const done = watchDirectory({
    ...{ dir, layout: hf, settleMs: SETTLE_MS, rescanMs: RESCAN_MS, signal: stop.signal },
    isKnown: () => {
      if (++asked === STEPS) all.resolve();
      return true;
    },
    onFound: async () => {},
    onProblem: console.error,
  });
  await all.promise;
  say(`scan of ${STEPS} known steps after a restart`, seconds(performance.now() - startMs));
  const before = process.cpuUsage();
  await sleep(IDLE_MS);
  const { user, system } = process.cpuUsage(before);
  say(`CPU with ${STEPS} known steps, nothing happens`, `${((user + system) / IDLE_MS / 10).toFixed(2)} %`);
  stop.abort();
  await done;
}

/** New steps, one a second, while the registry copies, hashes, syncs and writes down the others. */
async function backlog(dir: string): Promise<void> {
  const waits = new Map<string, { wroteMs: number; known: (tookMs: number) => void }>();
  const startMs = performance.now();
  let taken = 0;
  const registry = await open('backlog', dir, (name) => {
    taken++;
    const wait = waits.get(name);
    wait?.known(performance.now() - wait.wroteMs);
  });
  registry.watch();
  const tookMs: number[] = [];
  for (let step = STEPS + 1; step <= STEPS + 20; step++) {
    const { promise, resolve } = Promise.withResolvers<number>();
    await writeCheckpoint({ dir, step, ...TINY });
    waits.set(`m@${step}`, { wroteMs: performance.now(), known: resolve });
    tookMs.push(await promise);
    await sleep(500);
  }
  tookMs.sort((a, b) => a - b);
  const rate = (taken * 1000) / (performance.now() - startMs);
  say(`a new step is registered, while ${STEPS} are being taken: median`, seconds(tookMs[10] ?? 0));
  say('... the slowest of 20', seconds(tookMs.at(-1) ?? 0));
  say('steps taken meanwhile', `${rate.toFixed(0)} a second`);
  await registry.close();
}

/** save_total_limit 2: a step is removed when the next but one is complete. The files are of a real size, and moved into place. */
async function rotation(): Promise<void> {
  const made = join(home, 'made');
  await writeCheckpoint({ dir: made, step: 1, rank: 16, layers: 24, hidden: 2048 });
  for (const everyMs of [1000, 500, 250, 100, 50, 25]) {
    const dir = join(home, `rotating-${everyMs}`);
    await mkdir(dir);
    let taken = 0;
    const registry = await open(`rotation-${everyMs}`, dir, () => taken++);
    registry.watch();
    const count = 20;
    for (let step = 1; step <= count; step++) {
      await cp(join(made, 'checkpoint-1'), join(dir, 'tmp'), { recursive: true });
      await rename(join(dir, 'tmp'), join(dir, `checkpoint-${step}`));
      await rm(join(dir, `checkpoint-${step - 2}`), { recursive: true, force: true });
      await sleep(everyMs);
    }
    await sleep(1000);
    say(`a step of 13 MB every ${everyMs} ms and the copy, two are kept: taken`, `${taken} of ${count}`);
    await registry.close();
  }
}

async function open(name: string, watch: string, onRegistered: (name: string) => void): Promise<Registry> {
  return Registry.open({
    dataDir: join(home, `data-${name}`),
    roots: [],
    models: new Map([[as<ModelName>('m'), { watch, latest: 'published' as const, layout: 'hf' as const }]]),
    rescanMs: RESCAN_MS,
    settleMs: SETTLE_MS,
    nowMs: Date.now,
    onChange: (change) => {
      if (change.kind === 'registered') onRegistered(change.checkpoint.name);
    },
    onProblem: (about) => console.error(about),
  });
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
