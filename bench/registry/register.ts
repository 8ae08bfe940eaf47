// What it costs to take checkpoints in, against the bare cost of the syncs that no registration can do without: both files, their
// directory, the store's directory, the row. Rounds are interleaved and medians taken, since disks drift; the ratios are the result.
// node bench/registry/register.ts [--count 500] [--rounds 5] [--dir DIR] [--json FILE]
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, write } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs, promisify } from 'node:util';
import { AdapterStore } from '../../src/registry/adapter-store.ts';
import { synced, synchronise } from '../../src/registry/disk.ts';
import { stampsOf } from '../../src/registry/inspect.ts';
import { ADAPTER_FILES } from '../../src/registry/originals.ts';
import { Registry } from '../../src/registry/registry.ts';
import { Roots } from '../../src/registry/roots.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';

const { values: flags } = parseArgs({
  options: {
    count: { type: 'string', default: '500' },
    rounds: { type: 'string', default: '5' },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'string' },
  },
});
const writePiece = promisify(write);
const COUNT = Number(flags.count);
const ROUNDS = Number(flags.rounds);

/** One way to take the runs in `runs` in; resolves with ms per checkpoint. */
interface Contender {
  readonly name: string;
  readonly run: (home: string, runs: readonly string[]) => Promise<void>;
}

async function inParallel(width: number, count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** The floor: as many bytes made durable in the same order with the fewest calls, and only what waits for a disk off the main thread;
 *  nothing is read, hashed, checked or told. */
function bare(width: number): Contender['run'] {
  return async (home, runs) => {
    const db = new DatabaseSync(join(home, 'bare.sqlite'));
    db.exec(
      'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (a, b)',
    );
    const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
    const files = ADAPTER_FILES.map((name) => ({ name, bytes: readFileSync(join(String(runs[0]), name)) }));
    await inParallel(width, runs.length, async (index) => {
      const temporary = join(home, `.${index}`);
      mkdirSync(temporary);
      const opened = files.map(({ name, bytes }) => ({ descriptor: openSync(join(temporary, name), 'wx'), bytes }));
      const written = opened.map(async ({ descriptor, bytes }) => {
        await writePiece(descriptor, bytes);
        await synced(descriptor);
        closeSync(descriptor);
      });
      await Promise.all([...written, synchronise(temporary)]);
      renameSync(temporary, join(home, `${index}`));
      await synchronise(home);
      insert.run(index, 'x'.repeat(500));
    });
    db.close();
  };
}

const store = (width: number): Contender['run'] => {
  return async (home, runs) => {
    const adapters = await AdapterStore.open(join(home, 'adapters'), new Roots([]));
    await inParallel(width, runs.length, async (index) => {
      const run = String(runs[index]);
      await adapters.take(run, (await stampsOf(run)).signature);
    });
  };
};

const openRegistry = (home: string, watch?: string) => {
  const count = { registered: 0, onAll: () => {} };
  return Registry.open({
    dataDir: join(home, 'data'),
    roots: [],
    models: new Map(watch === undefined ? [] : [['m' as never, { latest: 'published', watch }]]),
    rescanMs: 5_000,
    settleMs: 2_000,
    nowMs: Date.now,
    onChange: ({ kind }) => {
      if (kind === 'registered' && ++count.registered === COUNT) count.onAll();
    },
    onProblem: (about) => console.error(about),
  }).then((registry) => ({ registry, count }));
};

const registered = (width: number): Contender['run'] => {
  return async (home, runs) => {
    const { registry } = await openRegistry(home);
    await inParallel(width, runs.length, (index) =>
      registry.register({ name: `m@${index}`, path: String(runs[index]) }),
    );
    await registry.close();
  };
};

async function found(home: string, runs: readonly string[]): Promise<void> {
  const { registry, count } = await openRegistry(home, join(String(runs[0]), '..'));
  const all = new Promise<void>((resolve) => {
    count.onAll = resolve;
  });
  registry.watch();
  await all;
  await registry.close();
}

const CONTENDERS: readonly Contender[] = [
  { name: 'bare syncs, one at a time', run: bare(1) },
  { name: 'register, one at a time', run: registered(1) },
  { name: 'bare syncs, 8 at once', run: bare(8) },
  { name: 'the store alone, 8 at once', run: store(8) },
  { name: 'register, 8 at once', run: registered(8) },
  { name: 'found at first start', run: found },
];

const top = await mkdtemp(join(flags.dir, 'stepgate-bench-'));
try {
  const runs: string[] = [];
  for (let step = 0; step < COUNT; step++) runs.push(await writeCheckpoint({ dir: join(top, 'runs'), step }));
  const tookMs = new Map(CONTENDERS.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, run } of CONTENDERS) {
      const home = await mkdtemp(join(top, 'home-'));
      const since = performance.now();
      await run(home, runs);
      tookMs.get(name)?.push((performance.now() - since) / COUNT);
      await rm(home, { recursive: true });
    }
  }
  const median = (name: string) => tookMs.get(name)?.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  const floors = { one: median('bare syncs, one at a time'), many: median('bare syncs, 8 at once') };
  const result = CONTENDERS.map(({ name }) => {
    const floor = name.endsWith('one at a time') ? floors.one : floors.many;
    return { name, msEach: median(name), timesTheFloor: median(name) / floor };
  });
  console.log(`${COUNT} checkpoints, medians of ${ROUNDS} rounds, in ${flags.dir}`);
  for (const { name, msEach, timesTheFloor } of result)
    console.log(
      `${name.padEnd(30)} ${msEach.toFixed(2).padStart(7)} ms each ${timesTheFloor.toFixed(1).padStart(6)} x`,
    );
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify({ count: COUNT, result }, null, 2)}\n`);
} finally {
  await rm(top, { recursive: true, force: true });
}
