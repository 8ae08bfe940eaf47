// One cell of the table: one workload, one policy, one seed. Runs in a worker (asked by message), or called in this process.
import { parentPort } from 'node:worker_threads';
import { COSTS } from './costs.ts';
import { CONTENDERS } from './schedulers/all.ts';
import { Simulation } from './simulation.ts';
import { traceWorkload } from './trace.ts';
import type { Result, Workload } from './types.ts';
import { type Size, WORKLOADS } from './workloads.ts';

export interface Cell {
  readonly workload: string;
  readonly policy: string;
  readonly seed: number;
  readonly size: Size;
  /** A name in COSTS. */
  readonly costs: string;
  /** Read instead of making the workload, on a fleet of that size. */
  readonly trace: { readonly file: string; readonly backends: number; readonly slots: number } | undefined;
}

export function runCell(cell: Cell): Result {
  const contender = CONTENDERS.find(({ name }) => name === cell.policy);
  if (contender === undefined) throw new Error(`no policy "${cell.policy}"`);
  return new Simulation({ workload: workloadOf(cell), contender, seed: cell.seed }).run();
}

function workloadOf({ workload: name, seed, size, costs: named, trace }: Cell): Workload {
  const costs = COSTS[named];
  const workload = trace === undefined ? WORKLOADS[name]?.(seed, size) : traceWorkload(trace.file, trace);
  if (workload === undefined || costs === undefined) throw new Error(`no workload "${name}", or no costs "${named}"`);
  return { ...workload, costs };
}

parentPort?.on('message', (cell: Cell) => parentPort?.postMessage(runCell(cell)));
