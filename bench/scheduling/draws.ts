// What workloads are made of: seeded draws of names, lengths and times. Pure but for the generator that is handed in.
import type { Random } from '../../test/random.ts';

export const exponential = (random: Random, mean: number): number => -mean * Math.log(1 - random.next());

/** A log-normal number of tokens, at least 1, with that mean; sigma 0.6 is a coefficient of variation of 0.66. */
export function tokens(random: Random, mean: number, sigma = 0.6): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  return Math.max(1, Math.round(Math.exp(Math.log(mean) - (sigma * sigma) / 2 + sigma * normal)));
}

/** Ranks 0 to count - 1 with probability proportional to (rank + 1)^-alpha, exactly. */
export function zipf(random: Random, count: number, alpha: number): () => number {
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -alpha;
    cumulative[rank] = sum;
  }
  return () => {
    const target = random.next() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] as number) <= target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Poisson arrivals, ms; `factor(at)` multiplies the rate (by thinning, at most `factorMax`). */
export function arrivals(
  random: Random,
  {
    perSecond,
    untilMs,
    factor = () => 1,
    factorMax = 1,
  }: { perSecond: number; untilMs: number; factor?: (at: number) => number; factorMax?: number },
): number[] {
  const times = [];
  for (let at = 0; ; ) {
    at += exponential(random, 1000 / (perSecond * factorMax));
    if (at >= untilMs) return times;
    if (random.next() * factorMax < factor(at)) times.push(at);
  }
}
