// Consistent hashing with bounded loads: an adapter's requests go to its place on a ring, and on to the next backend while one has
// more than 1.25 times its share.
import type { AdapterId } from '../../../src/domain.ts';
import type { Contender } from '../types.ts';
import { Forwarder, type Outstanding } from './forwarder.ts';

const LOAD_FACTOR = 1.25;
const POINTS_PER_BACKEND = 128;

/** FNV-1a, then murmur3's finaliser, so that near names are far apart. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

class BoundedHash extends Forwarder {
  #ring: { point: number; backend: Outstanding }[] = [];

  override pick(adapter: AdapterId): Outstanding | undefined {
    if (this.#ring.length !== this.backends.length * POINTS_PER_BACKEND) this.#build();
    const total = this.backends.reduce((sum, { requests }) => sum + requests, 0);
    const most = Math.ceil((LOAD_FACTOR * (total + 1)) / this.backends.length);
    const start = this.#place(hash(adapter));
    for (let i = 0; i < this.#ring.length; i++) {
      const backend = this.#ring[(start + i) % this.#ring.length]?.backend;
      if (backend !== undefined && backend.requests < most) return backend;
    }
    return undefined;
  }

  #build(): void {
    this.#ring = this.backends
      .flatMap((backend) =>
        Array.from({ length: POINTS_PER_BACKEND }, (_, index) => ({
          point: hash(`${backend.name}/${index}`),
          backend,
        })),
      )
      .sort((a, b) => a.point - b.point);
  }

  #place(point: number): number {
    let [low, high] = [0, this.#ring.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ring[middle]?.point ?? 0) < point) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const boundedHash: Contender = {
  name: 'bounded-hash',
  source: 'Mirrokni, Thorup, Zadimoghaddam, SODA 2018 (factor 1.25); as KubeAI uses it for LoRA',
  residency: 'engine',
  create: () => new BoundedHash(),
};
