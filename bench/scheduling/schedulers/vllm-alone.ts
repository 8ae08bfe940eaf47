// vLLM alone: every request forwarded round robin, the engine swaps and starves (vllm#16876). Also least outstanding, which CACHED uses.
import type { Contender } from '../types.ts';
import { Forwarder, least, type Outstanding } from './forwarder.ts';

class RoundRobin extends Forwarder {
  #turn = 0;

  override pick(): Outstanding | undefined {
    return this.backends[this.#turn++ % this.backends.length];
  }
}

class LeastOutstanding extends Forwarder {
  override pick(): Outstanding | undefined {
    return least(this.backends, ({ requests }) => requests);
  }
}

export const vllmAlone: Contender = {
  name: 'vllm-alone',
  source: 'vLLM v1 scheduler behind a round-robin balancer; vllm#16876',
  residency: 'engine',
  create: () => new RoundRobin(),
};

/** Every adapter everywhere at no cost, classes in order: nobody can do better. */
export const cached: Contender = {
  name: 'CACHED',
  source: 'the unreachable bound',
  residency: 'free',
  create: () => new LeastOutstanding(),
};
