// What stepgate relies on in an engine of kind vLLM. The same promises are asked of the simulated one (test/engine/sim.test.ts) and of the real
// one (test/vllm/engine.test.ts), so that a test against the former says something about the latter.
import { afterAll, beforeAll, describe } from 'vitest';
import { EngineClient } from './client.ts';
import { inferencePromises } from './promises-inference.ts';
import { loraPromises } from './promises-lora.ts';
import { metricPromises } from './promises-metrics.ts';

export interface EngineUnderTest {
  readonly url: string;
  /** The served name of its base. */
  readonly base: string;
  /** --max-loras; at least 2. */
  readonly slots: number;
  /** Directories of good adapters with different weights, at least `slots + 1` of them. */
  readonly adapters: readonly string[];
  /** A directory that the engine can read and the suite can fill. */
  readonly scratch: string;
  /** Nothing has been asked of it yet. */
  readonly fresh: boolean;
  close(): Promise<void>;
}

/** What each group of promises is given; read it inside tests only. */
export interface Given {
  engine(): EngineUnderTest;
  client(): EngineClient;
  /** An adapter's directory; distinct for distinct numbers below `slots + 1`. */
  adapter(i: number): string;
  /** A name that was not used before, even on an engine that had other guests. */
  name(): string;
}

export function engineConformance(title: string, getEngine: () => Promise<EngineUnderTest>): void {
  describe(title, () => {
    let engine: EngineUnderTest | undefined;
    const run = Math.random().toString(36).slice(2, 8);
    let names = 0;
    const started = (): EngineUnderTest => {
      if (!engine) throw new Error('the engine did not start');
      return engine;
    };
    const given: Given = {
      engine: started,
      client: () => new EngineClient(started().url),
      adapter: (i) => started().adapters[i] ?? '',
      name: () => {
        names += 1;
        return `run-${run}@${names}`;
      },
    };

    beforeAll(async () => {
      engine = await getEngine();
    });
    afterAll(() => engine?.close());

    // First, because one of them is about an engine that has not run yet.
    metricPromises(given);
    loraPromises(given);
    inferencePromises(given);
  });
}
