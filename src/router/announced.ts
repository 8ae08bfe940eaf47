// What sweeps have said that they will ask for: adapters in the order in which they come, and how many requests each has still to get.
// Holds that and answers from it; what is loaded ahead because of it is prefetch.ts' business. Pure; its size is bounded by who announces.
import type { AdapterId, SweepId } from '../domain.ts';
import type { AdapterTarget } from './events.ts';

export interface Expected {
  readonly target: AdapterTarget;
  readonly requests: number;
}

export class Announced {
  readonly #sweeps = new Map<SweepId, readonly Expected[]>();
  /** Over all sweeps; only those above 0. */
  readonly #requests = new Map<AdapterId, number>();

  get isEmpty(): boolean {
    return this.#sweeps.size === 0;
  }

  /** What each sweep has still to ask for, in its order. */
  get sweeps(): Iterable<readonly Expected[]> {
    return this.#sweeps.values();
  }

  /**
   * Takes what a sweep says now in place of what it said before.
   * @returns those it expected something of until now, of which nobody expects anything any more
   */
  replace(sweep: SweepId, expected: readonly Expected[]): AdapterTarget[] {
    const before = this.#sweeps.get(sweep) ?? [];
    const coming = expected.filter(({ requests }) => requests > 0);
    for (const { target, requests } of before) this.#add(target.adapter, -requests);
    for (const { target, requests } of coming) this.#add(target.adapter, requests);
    if (coming.length > 0) this.#sweeps.set(sweep, coming);
    else this.#sweeps.delete(sweep);
    return before.flatMap(({ target }) => (this.#requests.has(target.adapter) ? [] : [target]));
  }

  /** It is gone: nobody will ask for it. */
  forget(adapter: AdapterId): void {
    if (!this.#requests.has(adapter)) return;
    for (const [sweep, expected] of [...this.#sweeps])
      this.replace(
        sweep,
        expected.filter(({ target }) => target.adapter !== adapter),
      );
  }

  #add(adapter: AdapterId, requests: number): void {
    const sum = this.of(adapter) + requests;
    if (sum > 0) this.#requests.set(adapter, sum);
    else this.#requests.delete(adapter);
  }

  /** Requests still to come for it. */
  of(adapter: AdapterId): number {
    return this.#requests.get(adapter) ?? 0;
  }
}

/** Requests that sweeps have announced for this adapter and not made yet: it should not make room while others can. */
export const expectedOf = ({ announced }: { readonly announced: Announced }, adapter: AdapterId): number =>
  announced.of(adapter);
