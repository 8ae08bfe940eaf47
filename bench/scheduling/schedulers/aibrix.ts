// AIBrix's least-adapters: an adapter is placed once, on the backend with the fewest, and all its requests go there.
import type { AdapterId } from '../../../src/domain.ts';
import type { Contender } from '../types.ts';
import { Forwarder, least, type Outstanding } from './forwarder.ts';

class LeastAdapters extends Forwarder {
  readonly #homes = new Map<AdapterId, Outstanding>();
  readonly #placed = new Map<Outstanding, number>();

  override pick(adapter: AdapterId): Outstanding | undefined {
    const known = this.#homes.get(adapter);
    if (known !== undefined) return known;
    const home = least(this.backends, (backend) => this.#placed.get(backend) ?? 0);
    if (home === undefined) return undefined;
    this.#homes.set(adapter, home);
    this.#placed.set(home, (this.#placed.get(home) ?? 0) + 1);
    return home;
  }
}

export const aibrix: Contender = {
  name: 'aibrix',
  source: 'vllm-project/aibrix, pkg/controller/modeladapter/scheduling/least_adapters.go; one replica, its default',
  residency: 'engine',
  create: () => new LeastAdapters(),
};
