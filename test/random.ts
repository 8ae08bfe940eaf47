// Chance for tests: a seeded generator, and the seed to print. SEED=123 npm test replays a failure.

export interface Random {
  /** [0, 1) */
  next(): number;
  /** A whole number in [0, below). */
  below(below: number): number;
  pick<T>(items: readonly T[]): T;
  chance(probability: number): boolean;
}

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state, good enough to shuffle events. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
    chance: (probability) => next() < probability,
  };
}

/** The seeds of a randomised test: the one asked for by SEED, else `count` from the clock. */
export function seeds(count: number): number[] {
  const asked = process.env.SEED;
  if (asked !== undefined) return [Number(asked)];
  const first = Date.now() % 1_000_000_000;
  return Array.from({ length: count }, (_, index) => first + index);
}
