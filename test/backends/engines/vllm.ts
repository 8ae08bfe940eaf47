// The simulated engine, which has vLLM's surface and quirks, as the conformance suite wants it.
import { onTestFinished } from 'vitest';
import type { Door, Fault } from '../../../src/sim/faults.ts';
import { startSim } from '../../../src/sim/sim.ts';
import { FAST } from '../../gateway/harness.ts';
import type { Said, Stand, Trouble } from './server.ts';

const DOORS: readonly Door[] = ['load', 'unload', 'models', 'metrics', 'health'];
const FAULTS: Readonly<Record<Exclude<Trouble, 'none'>, Fault>> = {
  hangs: { kind: 'hang' },
  resets: { kind: 'reset' },
  garbage: { kind: 'garbage' },
  key: { kind: 'status', status: 401, body: { error: 'Unauthorized' } },
};

/** As vLLM 0.32.0 wraps what a worker says. */
export const worker = (words: string): Said => ({
  status: 500,
  json: {
    error: {
      message: `Call to add_lora method failed: Worker failed with error '${words}', please check the stack trace above for the root cause`,
      type: 'InternalServerError',
      param: null,
      code: 500,
    },
  },
});

export async function vllm(): Promise<Stand> {
  const sim = await startSim({ ...FAST, maxLoras: 4 });
  onTestFinished(() => sim.close());
  return {
    url: sim.url,
    asked: [],
    set trouble(trouble: Trouble) {
      if (trouble !== 'none') for (const door of DOORS) sim.fault(door, FAULTS[trouble], Number.POSITIVE_INFINITY);
    },
    set refusal(said: Said | undefined) {
      if (said !== undefined)
        sim.fault('load', { kind: 'status', status: said.status, body: said.json }, Number.POSITIVE_INFINITY);
    },
    restart: () => sim.restart(),
    die: async () => sim.kill(),
  };
}
