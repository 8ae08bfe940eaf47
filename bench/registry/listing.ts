// What it costs to list 10,000 checkpoints: the models whole and in pages, the checkpoints as people and as OpenAI's SDK ask for them,
// and `stepgate ls`. A real gateway over real sockets, in front of a simulated engine; medians of 30.
// node bench/registry/listing.ts [--checkpoints N]
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import { type Running, start } from '../../src/serve.ts';
import { startSim } from '../../src/sim/sim.ts';
import { fillRegistry } from './rows.ts';

const ROUNDS = 30;
const { values } = parseArgs({ options: { checkpoints: { type: 'string', default: '10000' } } });
const COUNT = Number(values.checkpoints);
const BIN = fileURLToPath(new URL('../../bin/stepgate.js', import.meta.url));

const home = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
const sim = await startSim({ port: 0 });
try {
  const data = join(home, 'data');
  await fillRegistry({ data, count: COUNT });
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
