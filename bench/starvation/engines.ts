// The engine that is measured: one that runs already, the real vLLM started as its tests start it, or the simulated one.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { startVllm } from '../../test/vllm/engine.ts';

export interface Engine {
  readonly what: string;
  readonly url: string;
  /** Distinct adapters that run at once (--max-loras). */
  readonly slots: number;
  /** Directories, one more than there are slots. */
  readonly adapters: readonly string[];
  close(): Promise<void>;
}

export interface Wanted {
  readonly slots: number;
  readonly sim: boolean;
  /** Of an engine that runs already. */
  readonly url?: string | undefined;
  /** A trainer's directory of checkpoint-<step> directories that the engine at `url` can read. */
  readonly adapters?: string | undefined;
}

/** @throws Error that says what to pass. */
export async function openEngine({ slots, sim, url, adapters }: Wanted): Promise<Engine> {
  if (sim) return simulated(slots);
  if (url === undefined) return real(slots);
  if (adapters === undefined)
    throw new Error('--url needs --adapters: a directory of checkpoint-<step> directories for its base');
  const found = (await readdir(adapters)).filter((name) => /^checkpoint-\d+$/.test(name));
  const paths = found.sort((a, b) => stepOf(a) - stepOf(b)).map((name) => resolve(adapters, name));
  return enough({ what: url, url: url.replace(/\/$/, ''), slots, adapters: paths, close: async () => {} });
}

const stepOf = (name: string): number => Number(name.slice('checkpoint-'.length));

async function real(slots: number): Promise<Engine> {
  const { url, checkpoints, close } = await startVllm({ slots });
  const adapters = [...checkpoints.values()];
  return enough({ what: `vLLM on this machine's CPU, --max-loras ${slots}`, url, slots, adapters, close });
}

/** Its times are those of the tiny model on the CPU that the real one serves in its tests. */
async function simulated(slots: number): Promise<Engine> {
  const dir = await mkdtemp(join(tmpdir(), 'stepgate-bench-'));
  const steps = Array.from({ length: slots + 1 }, (_, index) => index + 1);
  const adapters = await Promise.all(steps.map((step) => writeCheckpoint({ dir, step })));
  const sim = await startSim({ maxLoras: slots, maxNumSeqs: 16, loadMs: 20, firstTokenMs: 30, tokenMs: 8 });
  const close = async () => {
    await sim.close();
    await rm(dir, { recursive: true });
  };
  return enough({ what: `the simulated engine, ${slots} slots`, url: sim.url, slots, adapters, close });
}

function enough(engine: Engine): Engine {
  const { slots, adapters } = engine;
  if (adapters.length <= slots)
    throw new Error(`${slots} slots need ${slots + 1} checkpoints, there are ${adapters.length}; lower --slots`);
  return { ...engine, adapters: adapters.slice(0, slots + 1) };
}
