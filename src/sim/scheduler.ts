// Which sequences run in the next engine step: vLLM's rule, with its unfairness. Pure: no time, no IO.

/** One answer being made. `adapter` is the number of one load of one adapter; undefined means the base. */
export interface Sequence {
  readonly adapter: number | undefined;
}

export interface SchedulerLimits {
  /** Distinct adapters in one step (--max-loras). */
  readonly maxLoras: number;
  /** Sequences in one step (--max-num-seqs). */
  readonly maxNumSeqs: number;
}

export class Scheduler<S extends Sequence> {
  readonly #limits: SchedulerLimits;
  #waiting: S[] = [];
  readonly #running = new Set<S>();

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
  }

  get running(): ReadonlySet<S> {
    return this.#running;
  }

  get waiting(): readonly S[] {
    return this.#waiting;
  }

  /** Numbers of the adapters that run; the base is not one. */
  runningAdapters(): Set<number> {
    const adapters = new Set<number>();
    for (const { adapter } of this.#running) if (adapter !== undefined) adapters.add(adapter);
    return adapters;
  }

  add(sequence: S): void {
    this.#waiting.push(sequence);
  }

  /** Ended or aborted, running or not. */
  remove(sequence: S): void {
    if (!this.#running.delete(sequence)) this.#waiting = this.#waiting.filter((other) => other !== sequence);
  }

  clear(): void {
    this.#waiting = [];
    this.#running.clear();
  }

  /**
   * Lets waiting sequences in, oldest first. One whose adapter would be number `maxLoras + 1` is skipped, not refused, while later ones of
   * running adapters (and of the base) overtake it, for as long as they keep coming: it starves. Returns those that were let in.
   */
  admit(): S[] {
    const adapters = this.runningAdapters();
    const admitted: S[] = [];
    const skipped: S[] = [];
    for (const sequence of this.#waiting) {
      const { adapter } = sequence;
      const fits = adapter === undefined || adapters.has(adapter) || adapters.size < this.#limits.maxLoras;
      if (!fits || this.#running.size >= this.#limits.maxNumSeqs) {
        skipped.push(sequence);
        continue;
      }
      if (adapter !== undefined) adapters.add(adapter);
      this.#running.add(sequence);
      admitted.push(sequence);
    }
    this.#waiting = skipped;
    return admitted;
  }
}
