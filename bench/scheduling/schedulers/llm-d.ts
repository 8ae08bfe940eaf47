// llm-d's scorers: LoRA affinity (the adapter is active 1.0, a free slot 0.8, it waits there 0.6, full 0) plus queue depth (empty 1, longest
// 0), of equal weight; a random one of the best. It knows what runs and what waits at once, where the real one scrapes metrics.
import type { AdapterId } from '../../../src/domain.ts';
import type { Random } from '../../../test/random.ts';
import { seeded } from '../../../test/random.ts';
import type { Contender } from '../types.ts';
import { Forwarder, type Outstanding } from './forwarder.ts';

class LlmD extends Forwarder {
  readonly #slots: number;
  readonly #random: Random;

  constructor(slots: number, seed: number) {
    super();
    this.#slots = slots;
    this.#random = seeded(seed);
  }

  override pick(adapter: AdapterId): Outstanding | undefined {
    const depths = this.backends.map(({ requests }) => requests);
    const [shortest, longest] = [Math.min(...depths), Math.max(...depths)];
    const scores = this.backends.map((backend) => {
      const queue = longest === shortest ? 1 : (longest - backend.requests) / (longest - shortest);
      return this.#affinity(backend, adapter) + queue;
    });
    const top = Math.max(...scores);
    return this.#random.pick(this.backends.filter((_, index) => scores[index] === top));
  }

  #affinity({ adapters }: Outstanding, adapter: AdapterId): number {
    if (!adapters.has(adapter)) return adapters.size < this.#slots ? 0.8 : 0;
    let place = 0;
    for (const one of adapters.keys()) {
      if (one === adapter) break;
      place++;
    }
    return place < this.#slots ? 1 : 0.6;
  }
}

export const llmD: Contender = {
  name: 'llm-d',
  source: 'gateway-api-inference-extension, scorer/lora_affinity.go and the queue scorer',
  residency: 'engine',
  create: ({ slots, seed }) => new LlmD(slots, seed),
};
