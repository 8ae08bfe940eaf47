// The overload bench: three times what the engine can do, through gateways with queues of several lengths. What do the admitted wait, beside the
// same gateway unloaded, and how soon do the others hear that they are refused? docs/limits.md says how to choose by it.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent } from 'undici';
import { stringify } from 'yaml';
import { seeded } from '../../test/random.ts';
import { type Answered, send } from './callers.ts';
import { type Capacity, openEngine } from './engine.ts';

const HELP = `node bench/overload/run.ts [--seconds N] [--times N] [--seed N]

  --seconds N   of overload for each queue (10)
  --times N     so many times the engine's capacity (3)
  --seed N      of arrivals and of how long the engine takes (1)`;

const CAPACITY: Capacity = { places: 32, serviceMs: 200 };
const PER_SECOND = (CAPACITY.places * 1000) / CAPACITY.serviceMs;
const UNLOADED = 0.3;
/** `limits.queueMax`, as what it comes to beside what the engine runs at once. */
const QUEUES = [
  { queueMax: 10_000, what: 'default' },
  { queueMax: CAPACITY.places * 20, what: '20 times' },
  { queueMax: CAPACITY.places, what: 'as many as run' },
  { queueMax: CAPACITY.places / 2, what: 'half of them' },
];

interface Measured {
  readonly unloaded: readonly Answered[];
  readonly overload: readonly Answered[];
  /** Until the last of them was answered. */
  readonly seconds: number;
}

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    times: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});

function whole(flag: 'seconds' | 'times' | 'seed'): number {
  const value = Number(flags[flag]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} must be a whole number of at least 1`);
  return value;
}

async function measure(queueMax: number): Promise<Measured> {
  const random = seeded(whole('seed'));
  const engine = await openEngine(CAPACITY, random);
  const data = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
  const backends = [{ name: 'gpu-0', url: engine.url, slots: 1, runningMax: CAPACITY.places }];
  const config = { listen: '127.0.0.1:0', admin: '127.0.0.1:0', data, backends, limits: { queueMax } };
  const dispatcher = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  const gateway = fork(new URL('./gateway.ts', import.meta.url), [stringify(config)]);
  try {
    const [url] = (await once(gateway, 'message')) as [string];
    const load = { url, random, dispatcher, seconds: whole('seconds') };
    // Connections and compiled code, as after a minute of service.
    await send({ ...load, perSecond: PER_SECOND * whole('times'), seconds: 2 });
    const unloaded = await send({ ...load, perSecond: PER_SECOND * UNLOADED });
    const from = performance.now();
    const overload = await send({ ...load, perSecond: PER_SECOND * whole('times') });
    return { unloaded, overload, seconds: (performance.now() - from) / 1000 };
  } finally {
    await dispatcher.close();
    gateway.disconnect();
    await once(gateway, 'exit');
    engine.close();
    await rm(data, { recursive: true });
  }
}

const p = (share: number, all: readonly number[]): number =>
  all.toSorted((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * share))] ?? Number.NaN;
const tookMs = (answers: readonly Answered[]) => answers.map((answer) => answer.tookMs);
const COLUMNS = [9, 16, 10, 9, 10, 10, 12] as const;
const row = (...cells: readonly string[]) => cells.map((cell, at) => cell.padStart(COLUMNS[at] ?? 0)).join('');

function line({ queueMax, what }: (typeof QUEUES)[number], { unloaded, overload, seconds }: Measured): string {
  const admitted = overload.filter(({ status }) => status === 200);
  const refused = overload.filter(({ status }) => status === 429);
  const others = overload.length - admitted.length - refused.length;
  if (others > 0) throw new Error(`${others} answers are neither 200 nor 429`);
  const times = p(0.99, tookMs(admitted)) / p(0.99, tookMs(unloaded));
  const ofCapacity = admitted.length / seconds / PER_SECOND;
  const told = refused.flatMap(({ retryAfterS }) => (retryAfterS === undefined ? [] : [retryAfterS]));
  const share = (part: number) => `${Math.round(part * 100)} %`;
  return row(
    ...[String(queueMax), what, `${times.toFixed(2)} x`, share(ofCapacity), share(refused.length / overload.length)],
    refused.length === 0 ? '-' : `${p(0.99, tookMs(refused)).toFixed(1)} ms`,
    told.length === 0 ? '-' : `${Math.min(...told)} to ${Math.max(...told)} s`,
  );
}

async function main(): Promise<void> {
  if (flags.help) return console.log(HELP);
  const { places, serviceMs } = CAPACITY;
  console.log(
    `An engine that runs ${places} at once for ${serviceMs} ms each, asked ${flags.times} times what it can do.\n`,
  );
  console.log(row('', '', 'p99 of', 'engine', '', 'p99 of a', ''));
  console.log(row('queueMax', '', 'admitted', 'in use', 'refused', 'refusal', 'Retry-After'));
  for (const queue of QUEUES) console.log(line(queue, await measure(queue.queueMax)));
  console.log('\nadmitted: beside the p99 of the same gateway at 0.3 times its capacity.');
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error && error.cause === undefined ? error.message : error);
  process.exitCode = 1;
});
