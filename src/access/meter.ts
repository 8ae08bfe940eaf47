// How much one key asks: a bucket of `perMinute` requests that fills up again at that rate (GCRA), and how many run at once.
// Counts only; time is an argument, ms on a clock that never goes back.

export interface MeterLimits {
  readonly perMinute: number | undefined;
  readonly concurrentMax: number | undefined;
}

const MINUTE_MS = 60_000;

export class Meter {
  readonly limits: MeterLimits;
  #running = 0;
  /** When the bucket is full again. */
  #fullAt = Number.NEGATIVE_INFINITY;

  constructor(limits: MeterLimits) {
    this.limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  /** Takes one request in, to be followed by `leave`; or says when to come back. A request that is refused costs nothing. */
  enter(now: number): 'entered' | { readonly over: 'concurrentMax' | 'perMinute'; readonly waitMs: number } {
    const { perMinute, concurrentMax } = this.limits;
    if (concurrentMax !== undefined && this.#running >= concurrentMax) return { over: 'concurrentMax', waitMs: 1_000 };
    if (perMinute !== undefined) {
      const fullAt = Math.max(this.#fullAt, now) + MINUTE_MS / perMinute;
      // A thousandth of a millisecond for the sums of floats.
      if (fullAt - now > MINUTE_MS + 1e-3) return { over: 'perMinute', waitMs: fullAt - now - MINUTE_MS };
      this.#fullAt = fullAt;
    }
    this.#running++;
    return 'entered';
  }

  leave(): void {
    this.#running--;
  }
}
