// What it costs to list 10,000 checkpoints: the models whole and in pages, the checkpoints as people and as OpenAI's SDK ask for them,
// and `stepgate ls`. A real gateway over real sockets, in front of a simulated engine; medians of 30.
// node bench/registry/listing.ts [--checkpoints N]
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import { as, type Checkpoint, type CheckpointId, type Digest } from '../../src/domain.ts';
import { Database } from '../../src/registry/database.ts';
import { ADAPTER_FILES } from '../../src/registry/inspect.ts';
import { type Running, start } from '../../src/serve.ts';
import { startSim } from '../../src/sim/sim.ts';

const ROUNDS = 30;
const { values } = parseArgs({ options: { checkpoints: { type: 'string', default: '10000' } } });
const COUNT = Number(values.checkpoints);
const BIN = fileURLToPath(new URL('../../bin/stepgate.js', import.meta.url));

const home = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
const sim = await startSim({ port: 0 });
try {
  const data = join(home, 'data');
  await fill(data);
  const config = { listen: '127.0.0.1:0', admin: '127.0.0.1:0', data, backends: [{ name: 'gpu-0', url: sim.url }] };
  const models = { models: { 'my-model': { latest: 'published' } } };
  const log = pino({ level: 'silent' });
  const running = await start(parseConfig(stringify({ ...config, ...models }), { file: undefined }), { log });
  try {
    await measure(running);
  } finally {
    await running.close({ now: true });
  }
} finally {
  await sim.close();
  await rm(home, { recursive: true, force: true });
}

/** Rows as registrations would leave them; all stand for one adapter's files, which nobody reads. */
async function fill(data: string): Promise<void> {
  const digest = as<Digest>('0'.repeat(64));
  const pathOf = () => join(data, 'adapters', digest);
  await mkdir(pathOf(), { recursive: true });
  for (const file of ADAPTER_FILES) await writeFile(join(pathOf(), file), '');
  const rows = new Database({ file: join(data, 'registry.sqlite'), pathOf });
  rows.commit(
    Array.from({ length: COUNT }, (_, index) => {
      const name = as<Checkpoint['name']>(`my-model@${index}`);
      const checkpoint: Checkpoint = {
        id: as<CheckpointId>(randomUUID()),
        name,
        model: as('my-model'),
        step: index,
        revision: 1,
        adapter: { id: as(name), path: pathOf(), digest, bytes: 40_000_000, rank: 16 },
        base: undefined,
        source: `/runs/my-model/checkpoint-${index}`,
        createdAtMs: Date.now(),
        state: { kind: 'servable' },
        details: {
          metrics: { loss: Math.random(), eval_loss: Math.random(), learning_rate: 1e-4, epoch: index / 100 },
          architecture: 'LlamaForCausalLM',
          library: 'peft 0.17.1',
        },
        warnings: [],
      };
      return { kind: 'added', checkpoint, sighting: { name, source: checkpoint.source, signature: '-' } } as const;
    }),
  );
  rows.close();
}

async function measure({ url, adminUrl }: Running): Promise<void> {
  const admin = `${adminUrl}/admin/v1/models/my-model/checkpoints`;
  const last = `my-model@${COUNT - 100}`;
  console.log(`${COUNT} checkpoints`);
  await time('GET /v1/models', `${url}/v1/models`);
  await time('GET /v1/models, a page of 100 at the end', `${url}/v1/models?limit=100&after=${last}`);
  await time('GET /v1/models/my-model@5', `${url}/v1/models/my-model@5`);
  await time('GET /v1/fine_tuning/jobs/my-model/checkpoints', `${url}/v1/fine_tuning/jobs/my-model/checkpoints`);
  await time('admin: a page of 50, newest first', `${admin}?limit=50&order=desc`);
  await time('admin: a page of 50, sorted by a metric', `${admin}?limit=50&sort=eval_loss`);
  await time('admin: all', `${admin}?limit=100000`);
  for (const more of [[], ['--limit', `${COUNT}`]]) {
    const args = ['ls', 'my-model', '--admin', adminUrl, ...more];
    let bytes = 0;
    // In a process of its own, which must not stop this one from answering.
    const took = await median(async () => {
      bytes = await run(args);
    }, 3);
    say(`stepgate ${args.filter((arg) => arg !== '--admin' && arg !== adminUrl).join(' ')}`, took, bytes);
  }
}

function run(args: readonly string[]): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  execFile(process.execPath, [BIN, ...args], { maxBuffer: 1 << 28 }, (error, out) =>
    error ? reject(error) : resolve(out.length),
  );
  return promise;
}

async function time(what: string, url: string): Promise<void> {
  let bytes = 0;
  const took = await median(async () => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    bytes = (await response.arrayBuffer()).byteLength;
  }, ROUNDS);
  say(what, took, bytes);
}

async function median(work: () => Promise<void>, rounds: number): Promise<number> {
  const took: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const from = performance.now();
    await work();
    took.push(performance.now() - from);
  }
  return took.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN;
}

function say(what: string, tookMs: number, bytes: number): void {
  console.log(`${what.padEnd(56)} ${tookMs.toFixed(1).padStart(8)} ms ${(bytes / 1000).toFixed(0).padStart(7)} kB`);
}
