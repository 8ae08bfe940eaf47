// What the registry costs at 100,000 checkpoints: memory per checkpoint, what a name takes to resolve, and how long the database takes to
// open. `node --expose-gc bench/registry/catalog.ts [COUNT]`; it makes a database of its own in a temporary directory.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { as, type Checkpoint, type Digest } from '../../src/domain.ts';
import { AdapterIds } from '../../src/registry/adapter-ids.ts';
import { Catalog } from '../../src/registry/catalog.ts';
import { Database } from '../../src/registry/database.ts';

const COUNT = Number(process.argv[2] ?? 100_000);
/** One run with very many steps is harder than many runs with few: half of all are its. */
const MODELS = 50;
const PATTERN = 'my-long-running-model';
const ROUNDS = 200_000;
const STORE = '/var/lib/stepgate/stepgate-data/adapters';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const hex = (seed: number) => seed.toString(16).padStart(8, '0').repeat(8);
const uuid = (seed: number) => `${hex(seed).slice(0, 8)}-0000-4000-8000-${hex(seed).slice(0, 12)}`;

function made(index: number): Checkpoint {
  const model = index % 2 === 0 ? PATTERN : `${PATTERN}-${index % MODELS}`;
  const name = `${model}@${index}`;
  const digest = as<Digest>(hex(index));
  return {
    id: as(uuid(index)),
    name: as(name),
    model: as(model),
    step: index,
    revision: 1,
    adapter: { id: as(name), path: '', digest, bytes: 20_000_000, rank: 16 },
    base: undefined,
    source: `/shared/runs/2026-01-01/${model}/checkpoint-${index}`,
    createdAtMs: 1_700_000_000_000 + index,
    state: { kind: 'servable' },
    details: {
      metrics: { loss: 1 / index, eval_loss: 2 / index, learning_rate: 1e-5, epoch: index / 100, grad_norm: 0.5 },
      architecture: 'LlamaForCausalLM',
      library: 'peft 0.17.1',
    },
    warnings: [],
  };
}

function fill(file: string): void {
  const database = new Database({ file, pathOf: (digest) => digest });
  for (let start = 1; start <= COUNT; start += 1_000) {
    const batch = Array.from({ length: Math.min(1_000, COUNT - start + 1) }, (_, index) => made(start + index));
    database.commit(
      batch.map((checkpoint) => {
        const { name, source } = checkpoint;
        const sighting = { name, source, signature: `20000000:${1.7e18 + Number(checkpoint.step)}:1 500:1:2` };
        return { kind: 'added', checkpoint, sighting };
      }),
    );
  }
  database.close();
}

function load(database: Database): { catalog: Catalog; ids: AdapterIds } {
  const catalog = new Catalog();
  const ids = new AdapterIds();
  for (const checkpoint of database.checkpoints().toSorted((a, b) => (a.step ?? -1) - (b.step ?? -1))) {
    ids.remember(checkpoint);
    catalog.put(checkpoint);
  }
  return { catalog, ids };
}

/** Of one call. */
function time(names: readonly string[], ask: (name: string) => unknown): string {
  for (let round = 0; round < ROUNDS / 10; round++) ask(String(names[round % names.length]));
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) ask(String(names[round % names.length]));
  const each = ((performance.now() - start) / ROUNDS) * 1e3;
  return `${each.toFixed(3).padStart(9)} us`;
}

const dir = mkdtempSync(join(tmpdir(), 'stepgate-bench-'));
try {
  const file = join(dir, 'registry.sqlite');
  fill(file);
  collect();
  const before = process.memoryUsage().heapUsed;
  const openedAt = performance.now();
  const database = new Database({ file, pathOf: (digest) => `${STORE}/${digest}` });
  const loaded = load(database);
  const openedMs = performance.now() - openedAt;
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / COUNT;
  const { catalog } = loaded;
  const steps = Array.from({ length: 1_000 }, (_, index) => 2 * (1 + ((index * 7919) % Math.floor(COUNT / 2))));
  const rows: [string, string][] = [
    ['open and load', `${openedMs.toFixed(0).padStart(9)} ms`],
    ['database file', `${(statSync(file).size / COUNT).toFixed(0).padStart(9)} bytes per checkpoint`],
    ['memory', `${bytes.toFixed(0).padStart(9)} bytes per checkpoint`],
  ];
  const ask = (label: string, names: readonly string[]) =>
    rows.push([label, time(names, (name) => catalog.resolve(name))]);
  ask(
    'name@5: a registered name',
    steps.map((step) => `${PATTERN}@${step}`),
  );
  ask(
    'name@0005: parsed',
    steps.map((step) => `${PATTERN}@000${step}`),
  );
  ask('name: latest', [PATTERN]);
  ask('name@best', [`${PATTERN}@best`]);
  ask(
    'name@<=5: nearest',
    steps.map((step) => `${PATTERN}@<=${step + 1}`),
  );
  ask(
    'name@7: unknown, refused',
    steps.map((step) => `${PATTERN}@${step + 1}`),
  );
  const [model = PATTERN] = catalog.models();
  catalog.setModel(as(model), { latest: 'error' });
  ask('name: refused by its policy', [model]);
  ask('an unknown model, refused', ['my-long-runing-model@5']);
  const newest = catalog.newest(model) ?? made(2);
  const again = performance.now();
  for (let round = 0; round < 1_000; round++) catalog.put({ ...newest, revision: round });
  rows.push(['put a checkpoint', `${(performance.now() - again).toFixed(3).padStart(9)} us`]);
  process.stdout.write(
    `${COUNT} checkpoints\n${rows.map(([label, value]) => `${label.padEnd(30)}${value}\n`).join('')}`,
  );
  database.close();
  // Kept until here, so that its memory counted.
  if (loaded.ids.digestOf('nothing') !== undefined) throw new Error('an id from nowhere');
} finally {
  rmSync(dir, { recursive: true });
}
