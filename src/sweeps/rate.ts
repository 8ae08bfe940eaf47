// How fast something goes: a count that fades, so that what was long ago does not matter. Pure; constant memory.

const HALF_LIFE_MS = 30_000;

export class Rate {
  readonly #since: number;
  #count = 0;
  #at: number;

  constructor(now: number) {
    this.#since = now;
    this.#at = now;
  }

  note(now: number): void {
    this.#count = this.#faded(now) + 1;
    this.#at = now;
  }

  #faded(now: number): number {
    return this.#count * 0.5 ** ((now - this.#at) / HALF_LIFE_MS);
  }

  /** Per second, over the last minute or so, and over its whole life while that is shorter. */
  perSecond(now: number): number {
    const share = 1 - 0.5 ** ((now - this.#since) / HALF_LIFE_MS);
    return share > 0 ? (this.#faded(now) * Math.LN2 * 1000) / (HALF_LIFE_MS * share) : 0;
  }
}
