// Chameleon's cache: of idle adapters the one with the least 0.45 frequency + 0.10 recency + 0.45 size goes; never one that runs, those
// that wait last. vLLM's slots are uniform, so size weighs the same for all. Its quotas by request size are left out.
import type { AdapterId } from '../../../src/domain.ts';
import type { Contender } from '../types.ts';
import { Queueing, type Resident } from './queueing.ts';

/** Uses fade by half in this time, ms; ours. */
const HALF_LIFE_MS = 60_000;

class Chameleon extends Queueing {
  readonly #uses = new Map<AdapterId, { count: number; at: number }>();
  #most = 1;

  protected override noteUse(adapter: AdapterId, now: number): void {
    const count = this.#frequency(adapter, now) + 1;
    this.#most = Math.max(this.#most, count);
    this.#uses.set(adapter, { count, at: now });
  }

  #frequency(adapter: AdapterId, now: number): number {
    const uses = this.#uses.get(adapter);
    return uses === undefined ? 0 : uses.count * 0.5 ** ((now - uses.at) / HALF_LIFE_MS);
  }

  protected override worth({ adapter, lastUsedAt }: Resident, now: number): number {
    const recency = 0.5 ** ((now - lastUsedAt) / HALF_LIFE_MS);
    const waits = this.places.some(({ lines }) => lines.has(adapter)) ? 1 : 0;
    return waits + 0.45 * (this.#frequency(adapter, now) / this.#most) + 0.1 * recency + 0.45;
  }
}

export const chameleon: Contender = {
  name: 'chameleon',
  source:
    "Iliakopoulou et al., Chameleon, MICRO 2025: eviction score; loads start when a request queues; behind affinity with SGLang's gates",
  residency: 'host',
  create: () => new Chameleon(),
};
