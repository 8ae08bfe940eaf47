// What no scheduler can beat: loads (Belady where nothing is reordered, windows where requests wait and are reordered) and a sweep's makespan.
// Pure functions of the requests.
import { Heap } from './heap.ts';
import type { Workload } from './types.ts';

/** Loads of an optimal cache of `slots` adapters, empty at first, that serves in order (L. Belady, IBM Systems Journal 1966). */
export function beladyLoads(adapters: readonly string[], slots: number): number {
  const next = new Float64Array(adapters.length);
  const seen = new Map<string, number>();
  for (let at = adapters.length - 1; at >= 0; at--) {
    const adapter = adapters[at] as string;
    next[at] = seen.get(adapter) ?? Number.POSITIVE_INFINITY;
    seen.set(adapter, at);
  }
  const held = new Map<string, number>();
  // The furthest next use first; an entry is stale when the adapter was used since.
  const furthest = new Heap<{ adapter: string; next: number }>();
  let loads = 0;
  for (const [at, adapter] of adapters.entries()) {
    if (!held.has(adapter)) {
      loads++;
      while (held.size >= slots) {
        const entry = furthest.pop();
        if (entry !== undefined && held.get(entry.adapter) === entry.next) held.delete(entry.adapter);
      }
    }
    held.set(adapter, next[at] as number);
    furthest.push(-(next[at] as number), { adapter, next: next[at] as number });
  }
  return loads;
}

/**
 * Loads that every scheduler needs that lets nobody wait longer than `delayMs`: what arrives in [s, e] is served by e + delay, and `slots`
 * adapters at most were there at s (none at the start). Sums (distinct(s, e) - slots)+ over windows whose extensions are disjoint, the best such set by dynamic
 * programming on a grid of starts. Holds for any order of service and any replicas. `slots`: of the whole fleet.
 */
export function windowedBound(
  asked: readonly { at: number; adapter: string }[],
  { slots, delayMs, grid = 300 }: { slots: number; delayMs: number; grid?: number },
): number {
  const cells = Math.max(1, Math.min(grid, asked.length));
  const startOf = (cell: number) => Math.floor((cell * asked.length) / cells);
  const best = new Float64Array(cells + 1);
  for (let from = cells - 1; from >= 0; from--) {
    let most = best[from + 1] as number;
    const distinct = new Set<string>();
    let resume = from;
    for (let to = from; to < cells; to++) {
      for (let at = startOf(to); at < startOf(to + 1); at++) distinct.add(asked[at]?.adapter ?? '');
      const free = (asked[startOf(to + 1) - 1]?.at ?? 0) + delayMs;
      while (resume < cells && (asked[startOf(resume)]?.at ?? 0) <= free) resume++;
      most = Math.max(most, Math.max(0, distinct.size - (from === 0 ? 0 : slots)) + (best[resume] as number));
    }
    best[from] = most;
  }
  return best[0] ?? 0;
}

/**
 * A sweep cannot be over sooner, ms: each adapter is read once, each prompt token is prefilled once, and each output token costs at least
 * what it costs in the cheapest batch that these adapters allow (a batch of b needs b / (requests of the largest adapter) adapters), all
 * spread evenly over the fleet. Other classes' work is left out, so in a mix the bound is lower than what is possible.
 */
export function sweepBoundMs({ requests, backends, slots, load, costs }: Workload): number {
  const evals = requests.filter((request) => request.class === 'eval');
  const perAdapter = new Map<string, number>();
  let [promptTokens, outputTokens, longestMs] = [0, 0, 0];
  for (const { model, step, promptTokens: prompt, outputTokens: output } of evals) {
    const adapter = `${model}@${step}`;
    perAdapter.set(adapter, (perAdapter.get(adapter) ?? 0) + 1);
    promptTokens += prompt;
    outputTokens += output;
    longestMs = Math.max(longestMs, prompt * costs.prefillMsPerToken + output * costs.itlMs(1, 1));
  }
  const largest = Math.max(1, ...perAdapter.values());
  const batchMax = Math.min(costs.runningMax, largest * slots);
  let tokenMs = Number.POSITIVE_INFINITY;
  for (let batch = 1; batch <= batchMax; batch++) {
    tokenMs = Math.min(tokenMs, costs.itlMs(batch, Math.ceil(batch / largest)) / batch);
  }
  const workMs = promptTokens * costs.prefillMsPerToken + outputTokens * tokenMs + perAdapter.size * load.readMs;
  return Math.max(workMs / backends, longestMs + load.readMs) + load.fetchMs;
}
