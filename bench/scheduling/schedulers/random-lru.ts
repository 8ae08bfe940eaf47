// A random backend; the engine's LRU does the rest.
import type { Random } from '../../../test/random.ts';
import { seeded } from '../../../test/random.ts';
import type { Contender } from '../types.ts';
import { Forwarder, type Outstanding } from './forwarder.ts';

class RandomBackend extends Forwarder {
  readonly #random: Random;

  constructor(seed: number) {
    super();
    this.#random = seeded(seed);
  }

  override pick(): Outstanding | undefined {
    return this.backends[this.#random.below(this.backends.length)];
  }
}

export const randomLru: Contender = {
  name: 'random-lru',
  source: 'the usual straw man: a random backend, LRU in the engine',
  residency: 'engine',
  create: ({ seed }) => new RandomBackend(seed),
};
