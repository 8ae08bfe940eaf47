// dLoRA's credits: a bypassed line earns one for each request sent ahead of it, and past a threshold the adapter with the fewest running
// requests makes way. Dispatch by queueing plus load cost. Merged batches and migration are left out: vLLM can do neither.
import type { AdapterId } from '../../../src/domain.ts';
import type { Contender } from '../types.ts';
import { least } from './forwarder.ts';
import { type Place, Queueing, type Resident } from './queueing.ts';

/** The paper tunes it while running; this value is ours. */
const CREDITS_MAX = 32;
/** What one outstanding request delays the next, as an estimate, ms. */
const DELAY_MS = 20;

class DLora extends Queueing {
  readonly #loadMs: number;

  constructor(loadMs: number) {
    super();
    this.#loadMs = loadMs;
  }

  protected override route(adapter: AdapterId): Place | undefined {
    return least(this.places, ({ requests, held, lines }) => {
      const isThere = held.has(adapter) || lines.has(adapter);
      return requests * DELAY_MS + (isThere ? 0 : this.#loadMs);
    });
  }

  protected override worth({ lastUsedAt }: Resident): number {
    return lastUsedAt;
  }

  protected override isTurnOver(resident: Resident, place: Place): boolean {
    for (const { adapter, bypassed } of place.lines.values()) {
      if (bypassed < CREDITS_MAX || place.held.has(adapter)) continue;
      const ready = [...place.held.values()].filter(({ state }) => state === 'ready');
      return least(ready, ({ leases }) => leases) === resident;
    }
    return false;
  }
}

export const dlora: Contender = {
  name: 'dlora',
  source: 'Wu et al., dLoRA, OSDI 2024: credit-based batching, dispatch by queueing and load cost',
  residency: 'host',
  create: ({ loadMs }) => new DLora(loadMs),
};
