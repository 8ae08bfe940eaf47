// One round: a load on one contender for some seconds, and what it cost. And the summary of rounds.
// wrk makes the load of requests, streams.ts that of streams whose chunks are looked at.
import { execFile } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Contender, MODEL } from './contenders.ts';
import { coreUs, costOf, LOAD_CORE, quiet } from './processes.ts';
import type { Plan, Report } from './streams.ts';

export type Load =
  /** Each client asks again as soon as it was answered. */
  | {
      readonly kind: 'closed';
      readonly clients: number;
      /** Of a request. */
      readonly bytes: number;
      /** Of an answer; 0: whole, 1 KB. */
      readonly chunks: number;
      /** One request in twenty asks for one of these steps instead. */
      readonly others?: string;
    }
  /** Streams begin at a rate, whoever has been answered. */
  | {
      readonly kind: 'open';
      readonly perSecond: number;
      readonly chunks: number;
      readonly everyMs: number;
      /** At least so many at once: they all begin within a second, and last as long as the round. */
      readonly together?: number;
    };

/** Milliseconds of what the load looks at: a request, the first token of a stream, or (`together`) a chunk. */
export interface Round {
  /** Requests, or (`together`) chunks. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Requests that were not answered 2xx, or chunks that never came. */
  readonly failures: number;
  /** `failures` of all that were asked for, 0 to 1. */
  readonly failedShare: number;
  /** Chunks that came when the next was due. */
  readonly late: number;
  /** CPU time of the one in the middle per request, or (`together`) per chunk. */
  readonly cpuUs: number;
  /** Its share of its core: near 1 it was the limit, else the load tool or the engine was. */
  readonly busy: number;
  /** Share of its core that processes of others took, and which it could not have. */
  readonly others: number;
  /** The largest seen in the round. */
  readonly rssMb: number;
}

const run = promisify(execFile);
const file = (name: string): string => new URL(name, import.meta.url).pathname;
const ON_LOAD_CORE = ['-c', String(LOAD_CORE)];

export async function round(contender: Contender, load: Load, seconds: number): Promise<Round> {
  await quiet(contender.pid);
  const stopped = new AbortController();
  const memory = rssMax(contender.pid, stopped.signal);
  const [before, coreBefore, startMs] = [costOf(contender.pid).cpuUs, coreUs(), performance.now()];
  const made = load.kind === 'closed' ? await closed(contender, load, seconds) : await open(contender, load, seconds);
  const spentUs = costOf(contender.pid).cpuUs - before;
  const tookMs = performance.now() - startMs;
  const others = Math.max(0, coreUs() - coreBefore - spentUs) / 1000 / tookMs;
  stopped.abort();
  const { units, ...rest } = made;
  // Nothing came through: no cost can be told.
  const cpuUs = units === 0 ? 0 : spentUs / units;
  const rates = { perSecond: units / made.seconds, cpuUs, busy: spentUs / 1000 / tookMs };
  return { ...rest, ...rates, others, rssMb: await memory };
}

type Made = Pick<Round, 'p50Ms' | 'p99Ms' | 'failures' | 'failedShare' | 'late'> & {
  readonly units: number;
  readonly seconds: number;
};

async function closed(contender: Contender, load: Load & { kind: 'closed' }, seconds: number): Promise<Made> {
  const { clients, bytes, chunks, others } = load;
  const env = [`MODEL=${MODEL}`, `BYTES=${bytes}`, `CHUNKS=${chunks}`, ...(others ? [`OTHERS=${others}`] : [])];
  const headers = Object.entries(contender.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const how = ['-t1', `-c${clients}`, `-d${seconds}`, '--timeout', '30', '-s', file('load.lua'), ...headers];
  const wrk = ['env', ...env, 'wrk', ...how, `http://127.0.0.1:${contender.port}`];
  const { stdout } = await run('taskset', [...ON_LOAD_CORE, ...wrk]);
  const { requests, ...rest } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  // Nothing was answered: that is a failure too, and wrk does not count it.
  const failures = requests === 0 ? Math.max(1, rest.failures) : rest.failures;
  return { ...rest, failures, failedShare: failures / Math.max(1, requests), units: requests, late: 0 };
}

async function open(contender: Contender, load: Load & { kind: 'open' }, seconds: number): Promise<Made> {
  const { perSecond, everyMs, together } = load;
  const plan: Plan = {
    port: contender.port,
    model: MODEL,
    headers: contender.headers,
    perSecond,
    everyMs,
    streams: together ?? perSecond * seconds,
    chunks: together === undefined ? load.chunks : Math.ceil((seconds * 1000) / everyMs),
  };
  const { stdout } = await run('taskset', [
    ...ON_LOAD_CORE,
    process.execPath,
    file('streams.ts'),
    JSON.stringify(plan),
  ]);
  const report = JSON.parse(stdout) as Report;
  const times = together === undefined ? report.firstMs : report.chunkMs;
  const units = together === undefined ? plan.streams : report.chunks;
  const { missed: failures, late } = report;
  const failedShare = failures / (plan.streams * plan.chunks);
  return { units, seconds: report.seconds, p50Ms: times.p50, p99Ms: times.p99, failures, failedShare, late };
}

async function rssMax(pid: number | undefined, signal: AbortSignal): Promise<number> {
  let most = 0;
  while (!signal.aborted) {
    most = Math.max(most, costOf(pid).rssMb);
    await setTimeout(250, undefined, { signal }).catch(() => undefined);
  }
  return most;
}

export interface Summary extends Round {
  /** Of `cpuUs` over the rounds: the range over the median. */
  readonly spread: number;
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;

/** Medians; failures and late chunks of all rounds together. */
export function summary(rounds: readonly Round[]): Summary {
  const of = (key: keyof Round): number => median(rounds.map((one) => one[key]));
  const sum = (key: keyof Round): number => rounds.reduce((total, one) => total + one[key], 0);
  const costs = rounds.map((one) => one.cpuUs);
  return {
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    failures: sum('failures'),
    failedShare: Math.max(...rounds.map((one) => one.failedShare)),
    late: sum('late'),
    cpuUs: of('cpuUs'),
    busy: of('busy'),
    others: of('others'),
    rssMb: Math.max(...rounds.map((one) => one.rssMb)),
    spread: (Math.max(...costs) - Math.min(...costs)) / (of('cpuUs') || 1),
  };
}
