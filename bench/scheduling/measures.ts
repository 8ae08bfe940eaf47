// What a run is judged by: times to first token by class, longest wait, makespan, goodput, and how soon a new version is what callers get.
// Collects while the simulation runs; definitions are in docs/scheduling.md.
import type { AdapterId, TicketId } from '../../src/domain.ts';
import { beladyLoads, sweepBoundMs, windowedBound } from './bounds.ts';
import { type ByClass, CLASSES, type RequestClass, type Result, type Workload } from './types.ts';

/** A first token later than this is no good answer, by class, ms. */
export const TTFT_OBJECTIVE_MS: Readonly<Record<RequestClass, number>> = {
  interactive: 2_000,
  rollout: 10_000,
  eval: 60_000,
};
/** After the first token of a new step, its replicas may still be loading, ms. */
const CHANGE_MS = 10_000;
/** Nothing is loaded when a workload begins: what arrives this early says nothing of changes, ms. */
const COLD_MS = 30_000;
/** A version is ready when so many of the model's last so many first tokens were its own: 90 %. */
const READY = { of: 20, own: 18 };

export class Measures {
  refused = 0;
  readonly #workload: Workload;
  readonly #ttftMs: Float64Array;
  readonly #adapters: (AdapterId | undefined)[] = [];
  readonly #onBareName = new Map<string, { at: number; step: number }[]>();
  #waitMsMax = 0;
  #evalEndedAt = 0;

  constructor(workload: Workload) {
    this.#workload = workload;
    this.#ttftMs = new Float64Array(workload.requests.length).fill(Number.NaN);
  }

  started(ticket: TicketId, now: number): void {
    this.#waitMsMax = Math.max(this.#waitMsMax, now - (this.#workload.requests[ticket]?.at ?? now));
  }

  firstToken(ticket: TicketId, adapter: AdapterId, at: number): void {
    const request = this.#workload.requests[ticket];
    if (request === undefined) return;
    this.#ttftMs[ticket] = at - request.at;
    this.#adapters[ticket] = adapter;
    if (request.step !== undefined) return;
    const firsts = this.#onBareName.get(request.model) ?? [];
    this.#onBareName.set(request.model, firsts);
    firsts.push({ at, step: Number(adapter.slice(adapter.lastIndexOf('@') + 1)) });
  }

  ended(ticket: TicketId, now: number): void {
    if (this.#workload.requests[ticket]?.class === 'eval') this.#evalEndedAt = now;
  }

  summary(
    loads: number,
    diskLoads: number,
  ): Omit<Result, 'workload' | 'policy' | 'seed' | 'decisionUs' | 'violations' | 'violationsByLaw'> {
    const { requests } = this.#workload;
    const per1000 = (count: number) => (1000 * count) / Math.max(1, requests.length);
    return {
      requests: requests.length,
      loadsPer1000: per1000(loads),
      diskLoadsPer1000: per1000(diskLoads),
      loadsRatio: this.#loadsRatio(loads),
      ttftMsP50: this.#byClass(0.5),
      ttftMsP99: this.#byClass(0.99),
      waitMsMax: this.#waitMsMax,
      makespanRatio: this.#makespanRatio(),
      goodput: this.#goodput(),
      ...this.#changes(),
      refused: this.refused,
    };
  }

  #byClass(quantile: number): ByClass {
    const result: ByClass = {};
    for (const kind of CLASSES) {
      const times = this.#ttftMs.filter(
        (ms, ticket) => this.#workload.requests[ticket]?.class === kind && !Number.isNaN(ms),
      );
      if (times.length > 0) result[kind] = nearestRank(times.sort(), quantile);
    }
    return result;
  }

  /** Uses what each request was resolved to: versions move at other times under another policy. */
  #loadsRatio(loads: number): number | null {
    const { requests, backends, slots, sparse } = this.#workload;
    const asked = requests.flatMap(({ at }, ticket) => {
      const adapter = this.#adapters[ticket];
      return adapter === undefined ? [] : [{ at, adapter }];
    });
    const total = backends * slots;
    const bound = sparse
      ? beladyLoads(
          asked.map(({ adapter }) => adapter),
          total,
        )
      : windowedBound(asked, { slots: total, delayMs: this.#waitMsMax });
    return bound === 0 ? null : loads / bound;
  }

  #makespanRatio(): number | null {
    const { sweepAt } = this.#workload;
    return sweepAt === undefined ? null : (this.#evalEndedAt - sweepAt) / sweepBoundMs(this.#workload);
  }

  #goodput(): number {
    let good = 0;
    for (const [ticket, { class: kind }] of this.#workload.requests.entries()) {
      if ((this.#ttftMs[ticket] ?? Number.NaN) <= TTFT_OBJECTIVE_MS[kind]) good++;
    }
    return good / Math.max(1, this.#workload.requests.length);
  }

  #changes(): Pick<Result, 'publishToReadyMs' | 'publishToFirstMs' | 'publishExtraP99Ms'> {
    const [readyMs, firstMs]: [number[], number[]] = [[], []];
    const during = new Map<string, { from: number; to: number }[]>();
    for (const firsts of this.#onBareName.values()) firsts.sort((a, b) => a.at - b.at);
    for (const { at, model, step } of this.#workload.publications) {
      if (at === 0) continue;
      const after = (this.#onBareName.get(model) ?? []).filter((first) => first.at > at);
      const ready = readyAt(after, step);
      const first = after.find((first) => first.step >= step)?.at ?? after.at(-1)?.at;
      if (ready === undefined || first === undefined) continue;
      readyMs.push(ready - at);
      firstMs.push(first - at);
      during.set(model, [...(during.get(model) ?? []), { from: at, to: first + CHANGE_MS }]);
    }
    return {
      publishToReadyMs: quantileOf(readyMs, 0.5),
      publishToFirstMs: quantileOf(firstMs, 0.5),
      publishExtraP99Ms: this.#extraP99Ms(during),
    };
  }

  #extraP99Ms(during: ReadonlyMap<string, readonly { from: number; to: number }[]>): number | null {
    const [inside, outside]: [number[], number[]] = [[], []];
    for (const [ticket, { at, model, step }] of this.#workload.requests.entries()) {
      const ttftMs = this.#ttftMs[ticket] ?? Number.NaN;
      const changes = during.get(model);
      if (step !== undefined || changes === undefined || at < COLD_MS || Number.isNaN(ttftMs)) continue;
      (changes.some(({ from, to }) => at >= from && at < to) ? inside : outside).push(ttftMs);
    }
    const [p99, usual] = [quantileOf(inside, 0.99), quantileOf(outside, 0.99)];
    return p99 === null || usual === null ? null : p99 - usual;
  }
}

const quantileOf = (values: readonly number[], quantile: number): number | null =>
  values.length === 0 ? null : nearestRank(Float64Array.from(values).sort(), quantile);

/** The first time at which 90 % of the last first tokens were of that step or a later one; the last of them if that never happened. */
function readyAt(firsts: readonly { at: number; step: number }[], step: number): number | undefined {
  let own = 0;
  for (const [index, first] of firsts.entries()) {
    if (first.step >= step) own++;
    const left = firsts[index - READY.of];
    if (left !== undefined && left.step >= step) own--;
    if (own >= READY.own && first.step >= step) return first.at;
  }
  return firsts.at(-1)?.at;
}

/** Of sorted numbers. */
export function nearestRank(sorted: Float64Array, quantile: number): number {
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? 0;
}
