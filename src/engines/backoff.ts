// When an engine that ended is started again: later each time, and at last no more. Pure; time is handed in.

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** One that was up so long begins anew. */
  readonly calmMs: number;
  /** Ends in a row after which it is given up. */
  readonly endsMax: number;
}

export const BACKOFF: BackoffOptions = { firstMs: 1_000, maxMs: 60_000, calmMs: 300_000, endsMax: 8 };

export class Backoff {
  readonly #options: BackoffOptions;
  #ends = 0;

  constructor(options: BackoffOptions = BACKOFF) {
    this.#options = options;
  }

  get ends(): number {
    return this.#ends;
  }

  /** It has ended after it was up for `upMs` (0: it never was). How long to wait, ms; undefined: given up. */
  ended(upMs: number): number | undefined {
    const { firstMs, maxMs, calmMs, endsMax } = this.#options;
    if (upMs >= calmMs) this.#ends = 0;
    this.#ends += 1;
    return this.#ends >= endsMax ? undefined : Math.min(maxMs, firstMs * 2 ** (this.#ends - 1));
  }
}
