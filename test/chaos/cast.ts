// What the plan of a chaos run takes to be there: models with their steps, and the names that lead to them. Pure: it follows from the seed alone,
// never from what a gateway answered. What really is there, and since when, is books.ts.
import type { Random } from '../random.ts';

/** How a model's checkpoints come in, and what its bare name means. */
export interface ModelCast {
  readonly model: string;
  /** `watched`: written into its directory. `admin`: registered at the admin API. `trainer`: by vLLM's own load route. */
  readonly comes: 'watched' | 'admin' | 'trainer';
  readonly latest: 'ready' | 'published' | 'error';
}

export const MODELS: readonly ModelCast[] = [
  { model: 'watched', comes: 'watched', latest: 'ready' },
  { model: 'pushed', comes: 'admin', latest: 'published' },
  { model: 'named', comes: 'trainer', latest: 'error' },
];
export const BASE = 'base';
/** Who asks. */
export const KEY_NAMES = ['anna', 'ben', 'cleo'] as const;
/** `models.NAME.keep.last` of all of them. */
export const KEEP = 8;
/** The first steps, written before the first turn. */
export const FIRST_STEPS = [1, 2, 3] as const;

const GONE_KEPT = 6;

/** One model as the plan sees it. */
export class Line {
  readonly cast: ModelCast;
  /** Ascending; those that can be asked for. */
  readonly steps: number[] = [...FIRST_STEPS];
  /** The last that were deleted, by hand or by retention, or that were never servable. */
  readonly gone: number[] = [];
  readonly aliases = new Map<string, number>();
  readonly pinned = new Set<number>();
  #next = FIRST_STEPS.length + 1;

  constructor(cast: ModelCast) {
    this.cast = cast;
  }

  get newest(): number {
    return this.steps.at(-1) ?? 1;
  }

  fresh(): number {
    return this.#next++;
  }

  /** A new step, which may push the oldest out of what is kept. */
  add(step: number): void {
    this.steps.push(step);
    for (const old of this.steps.slice(0, -KEEP)) if (!this.isHeld(old)) this.drop(old);
  }

  drop(step: number): void {
    this.steps.splice(this.steps.indexOf(step), 1);
    this.lose(step);
  }

  lose(step: number): void {
    this.gone.push(step);
    if (this.gone.length > GONE_KEPT) this.gone.shift();
  }

  isHeld(step: number): boolean {
    return this.pinned.has(step) || [...this.aliases.values()].includes(step);
  }

  /** One of the newest three, so that retention is far. */
  recent(random: Random): number {
    return random.pick(this.steps.slice(-3));
  }
}
