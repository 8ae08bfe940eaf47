// Least outstanding among the backends that (it believes) hold the adapter, else the least outstanding of all; LRU in the engine.
import type { AdapterId } from '../../../src/domain.ts';
import type { Contender } from '../types.ts';
import { Forwarder, least, type Outstanding } from './forwarder.ts';

class AffinityLru extends Forwarder {
  readonly #slots: number;
  /** What each engine's LRU must hold, by what it was sent; oldest first. */
  readonly #believed = new Map<Outstanding, Set<AdapterId>>();

  constructor(slots: number) {
    super();
    this.#slots = slots;
  }

  override pick(adapter: AdapterId): Outstanding | undefined {
    const holders = this.backends.filter((backend) => this.#believed.get(backend)?.has(adapter));
    const backend = least(holders.length > 0 ? holders : this.backends, ({ requests }) => requests);
    if (backend !== undefined) this.#used(backend, adapter);
    return backend;
  }

  #used(backend: Outstanding, adapter: AdapterId): void {
    const believed = this.#believed.get(backend) ?? new Set();
    this.#believed.set(backend, believed);
    believed.delete(adapter);
    believed.add(adapter);
    const [oldest] = believed;
    if (believed.size > this.#slots && oldest !== undefined) believed.delete(oldest);
  }
}

export const affinityLru: Contender = {
  name: 'affinity-lru',
  source: 'adapter affinity, then least outstanding requests; LRU in the engine',
  residency: 'engine',
  create: ({ slots }) => new AffinityLru(slots),
};
