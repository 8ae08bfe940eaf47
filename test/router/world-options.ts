// What a world may be like, how two of one seed may differ, and chance that depends on who is concerned and not on what came before. No events.
import type { RouterOptions } from '../../src/router/router.ts';
import type { Answered, Run } from './run.ts';

export interface WorldOptions {
  readonly router: RouterOptions;
  readonly backends: number;
  readonly slots: number;
  readonly adapters: number;
  /** Fed to the router, ticks apart. */
  readonly events: number;
  /** Probability that a fault happens in the place of an arrival. */
  readonly faults: number;
  /** Share of the requests that belong to a session. */
  readonly sessions: number;
  readonly arrivalEveryMs: number;
  /** Means; the longest is twice as long. */
  readonly serviceMs: number;
  readonly loadMs: number;
}

/** How one world may differ from another of its seed without any decision being another. */
export interface Variation {
  readonly backend?: (index: number) => string;
  readonly adapter?: (index: number) => string;
  /** In which order things are told that come in no order. */
  readonly order?: <T>(items: readonly T[]) => T[];
  /** Before the engines come up. */
  readonly prelude?: (run: Run) => void;
  /** After each event; it may feed more of them, as long as nothing comes of it. */
  readonly after?: (run: Run, step: Answered) => void;
}

export interface Outcome {
  readonly run: Run;
  readonly loads: number;
  readonly rejected: ReadonlyMap<string, number>;
}

/** What is decided by chance, each with its own stream. */
export const FATE = {
  serviceMs: 1,
  loadMs: 2,
  loadFails: 3,
  unloadMs: 4,
  unloadFails: 5,
  fault: 6,
  downMs: 7,
  ailment: 8,
};

/** [0, 1), by what is asked, of whom and (`which`) for which time. */
export function fate(seed: number, kind: number, { who, which = 0 }: { who: number; which?: number }): number {
  let value = seed ^ Math.imul(kind + 1, 0x9e3779b1);
  for (const part of [who, which]) {
    value = Math.imul(value ^ (part + 0x7f4a7c15), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    value ^= value >>> 16;
  }
  return (value >>> 0) / 2 ** 32;
}
