// vLLM alone: every request forwarded round robin, the engine swaps and starves (vllm#16876). Also CACHED's routing: by affinity, else the
// least outstanding.
import type { AdapterId } from '../../../src/domain.ts';
import { preferred } from '../../../src/router/affinity.ts';
import type { Contender } from '../types.ts';
import { Forwarder, least, type Outstanding } from './forwarder.ts';

class RoundRobin extends Forwarder {
  #turn = 0;

  override pick(): Outstanding | undefined {
    return this.backends[this.#turn++ % this.backends.length];
  }
}

/** Requests that the preferred backend may have more than the least busy one. */
const GATE = 32;

class LeastOutstanding extends Forwarder {
  override pick(_adapter: AdapterId, affinity: number | undefined): Outstanding | undefined {
    const calmest = least(this.backends, ({ requests }) => requests);
    const own = affinity === undefined ? undefined : preferred(this.backends, affinity);
    return own !== undefined && own.requests - (calmest?.requests ?? 0) <= GATE ? own : calmest;
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
