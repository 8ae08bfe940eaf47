// The scheduling bench: every policy on every workload in virtual time, on as many worker threads as there are cores (two at most).
// Prints a table, and writes JSON and an SVG when asked.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Cell } from './cell.ts';
import { COSTS } from './costs.ts';
import { pictureOf } from './picture.ts';
import { CONTENDERS } from './schedulers/all.ts';
import { LEGEND, median, tableOf } from './table.ts';
import { traceWorkload } from './trace.ts';
import type { Result } from './types.ts';
import { namesOf, type Size, WORKLOADS } from './workloads.ts';

const HELP = `node bench/scheduling/run.ts [--quick] [--seed N] [--trace FILE] [--policy NAME] [--workload NAME] [--json FILE] ...
  --quick           small workloads, three seeds, well under a minute
  --seed N          the first seed (1)
  --seeds N         how many (3 with --quick, 1 with --trace, else 10)
  --policy NAME     only this one; may be repeated
  --workload NAME   only this one; may be repeated
  --costs NAME      of the engine (vllm-8b)
  --trace FILE      a CSV of requests in place of the workloads: time,model,step,prompt_tokens,output_tokens,class
  --backends N      for a trace (4)
  --slots N         of each, for a trace (4)
  --json FILE       an array with one object per workload, policy and seed
  --svg FILE        a picture; beside the JSON unless said otherwise`;

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string' },
    policy: { type: 'string', multiple: true },
    workload: { type: 'string', multiple: true },
    costs: { type: 'string', default: 'vllm-8b' },
    trace: { type: 'string' },
    backends: { type: 'string', default: '4' },
    slots: { type: 'string', default: '4' },
    json: { type: 'string' },
    svg: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function oneOf(what: string, asked: readonly string[], known: readonly string[]): void {
  const wrong = asked.find((name) => !known.includes(name));
  if (wrong !== undefined) throw new Error(`no ${what} "${wrong}"; there are ${known.join(', ')}`);
}

function whole(flag: 'seed' | 'seeds' | 'backends' | 'slots', fallback = 1): number {
  const value = Number(flags[flag] ?? fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} must be a whole number of at least 1`);
  return value;
}

function plan(): Cell[] {
  const size: Size = flags.quick ? 'quick' : 'full';
  const count = whole('seeds', flags.trace !== undefined ? 1 : flags.quick ? 3 : 10);
  const seeds = Array.from({ length: count }, (_, index) => whole('seed') + index);
  const names = CONTENDERS.map(({ name }) => name);
  oneOf('policy', flags.policy ?? [], names);
  oneOf('workload', flags.workload ?? [], Object.keys(WORKLOADS));
  oneOf('costs', [flags.costs], Object.keys(COSTS));
  const { costs } = flags;
  const trace =
    flags.trace === undefined ? undefined : { file: flags.trace, backends: whole('backends'), slots: whole('slots') };
  // Here once, so that a mistake in it is told before any worker starts.
  if (trace !== undefined) traceWorkload(trace.file, trace);
  const workloads = trace === undefined ? (flags.workload ?? namesOf(size)) : ['trace'];
  return workloads.flatMap((workload) =>
    seeds.flatMap((seed) => (flags.policy ?? names).map((policy) => ({ workload, policy, seed, size, costs, trace }))),
  );
}

/** Hands the cells out in order, and returns their results in that same order. */
function compute(cells: readonly Cell[]): Promise<Result[]> {
  const results: Result[] = [];
  const started = performance.now();
  let [next, done] = [0, 0];
  const work = async () => {
    const worker = new Worker(new URL('./cell.ts', import.meta.url));
    try {
      for (let index = next++; index < cells.length; index = next++) {
        const cell = cells[index] as Cell;
        results[index] = await ask(worker, cell);
        const seconds = ((performance.now() - started) / 1000).toFixed(0);
        console.error(
          `${seconds.padStart(4)} s  ${++done}/${cells.length}  ${cell.workload}  ${cell.policy}  seed ${cell.seed}`,
        );
      }
    } finally {
      await worker.terminate();
    }
  };
  const workers = Math.min(2, availableParallelism(), cells.length);
  return Promise.all(Array.from({ length: workers }, work)).then(() => results);
}

async function ask(worker: Worker, cell: Cell): Promise<Result> {
  const answer = once(worker, 'message');
  worker.postMessage(cell);
  try {
    const [result] = await answer;
    return result;
  } catch (error) {
    throw new Error(`${cell.policy} on ${cell.workload}, seed ${cell.seed}`, { cause: error });
  }
}

function summarise(results: readonly Result[]): Map<string, Result[]> {
  const tables = new Map<string, Result[]>();
  for (const [workload, ofWorkload] of Map.groupBy(results, (result) => result.workload)) {
    const rows = [...Map.groupBy(ofWorkload, (result) => result.policy).values()].flatMap(
      (ofPolicy) => median(ofPolicy) ?? [],
    );
    tables.set(workload, rows);
  }
  return tables;
}

async function main(): Promise<void> {
  if (flags.help) {
    console.log(HELP);
    console.log(`policies: ${CONTENDERS.map(({ name }) => name).join(', ')}`);
    console.log(`workloads: ${Object.keys(WORKLOADS).join(', ')}\ncosts: ${Object.keys(COSTS).join(', ')}`);
    return;
  }
  const results = await compute(plan());
  const tables = summarise(results);
  for (const [workload, rows] of tables) console.log(`\n${tableOf(workload, rows)}`);
  console.log(`\n${LEGEND}`);
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
  const svg = flags.svg ?? flags.json?.replace(/(\.json)?$/, '.svg');
  if (svg !== undefined) writeFileSync(svg, pictureOf(tables));
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error && error.cause === undefined ? error.message : error);
  process.exitCode = 1;
});
