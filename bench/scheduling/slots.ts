// An engine's adapters: which are in its slots, which of those run, what its CPU cache still knows, and what bringing one in costs.
// Least recently used goes first in both tiers, never one that runs. It counts loads; who may ask for one is checked in simulation.ts.
import type { AdapterId } from '../../src/domain.ts';
import type { LoadCost } from './costs.ts';
import type { Residency } from './types.ts';

export class Slots {
  /** Adapters brought into a slot so far, and how many of them from disk. */
  loads = 0;
  diskLoads = 0;
  readonly #load: LoadCost;
  readonly #slots: number;
  readonly #residency: Residency;
  /** In order of use, oldest first. */
  readonly #held = new Set<AdapterId>();
  readonly #coming = new Set<AdapterId>();
  readonly #cpu = new Set<AdapterId>();
  readonly #running = new Map<AdapterId, number>();

  constructor({ load, slots, residency }: { load: LoadCost; slots: number; residency: Residency }) {
    this.#load = load;
    this.#slots = slots;
    this.#residency = residency;
  }

  /** Slots that are taken or about to be. */
  get used(): number {
    return this.#held.size + this.#coming.size;
  }

  /** As the costs count them: where adapters are free, all count as one. */
  get distinct(): number {
    return this.#residency === 'free' ? Math.min(1, this.#running.size) : this.#running.size;
  }

  holds(adapter: AdapterId): boolean {
    return this.#residency === 'free' || this.#held.has(adapter);
  }

  runs(adapter: AdapterId): boolean {
    return this.#running.has(adapter);
  }

  mayRun(adapter: AdapterId): boolean {
    return this.#residency === 'free' || this.#running.has(adapter) || this.#running.size < this.#slots;
  }

  /** A load was asked for: takes its slot now. */
  reserve(adapter: AdapterId): void {
    this.#coming.add(adapter);
  }

  /** Whether a load can skip the fetch. */
  isNear(adapter: AdapterId): boolean {
    return this.#residency !== 'api' && this.#cpu.has(adapter);
  }

  /** Of the part in the engine's loop, ms. */
  loadMs(adapter: AdapterId): number {
    return this.#bring(adapter, this.#load.readMs);
  }

  #bring(adapter: AdapterId, diskMs: number): number {
    this.loads++;
    const near = this.isNear(adapter);
    this.#cpu.delete(adapter);
    this.#cpu.add(adapter);
    if (this.#cpu.size > this.#load.cpuAdapters) this.#cpu.delete(first(this.#cpu));
    if (near) return this.#load.cpuMs;
    this.diskLoads++;
    return diskMs;
  }

  arrived(adapter: AdapterId): void {
    this.#coming.delete(adapter);
    this.#held.add(adapter);
  }

  /** False: it was not there, or it runs. */
  drop(adapter: AdapterId): boolean {
    return !this.#running.has(adapter) && this.#held.delete(adapter);
  }

  /** One more request runs on it. Returns what swapping it in stalls the engine for, ms: an engine that swaps does so inside a step. */
  taken(adapter: AdapterId): number {
    this.#running.set(adapter, (this.#running.get(adapter) ?? 0) + 1);
    if (this.#residency === 'free') return 0;
    const held = this.#held.delete(adapter);
    if (!held && this.#held.size >= this.#slots) this.#evict();
    this.#held.add(adapter);
    return held ? 0 : this.#bring(adapter, this.#load.fetchMs + this.#load.readMs);
  }

  #evict(): void {
    for (const adapter of this.#held) {
      if (this.#running.has(adapter)) continue;
      this.#held.delete(adapter);
      return;
    }
  }

  released(adapter: AdapterId): void {
    const left = (this.#running.get(adapter) ?? 0) - 1;
    if (left > 0) this.#running.set(adapter, left);
    else this.#running.delete(adapter);
  }
}

function first<T>(items: ReadonlySet<T>): T {
  const [item] = items;
  return item as T;
}
