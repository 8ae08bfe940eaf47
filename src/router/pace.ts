// When a refused caller may come again: how long those who wait now will take, by the pace at which others stopped waiting before them.
// Looks only when somebody is refused, so that requests which are served pay nothing for it.

/** What is older says nothing of now, ms. */
const WINDOW_MS = 10_000;
const RETRY_AFTER_S_MAX = 60;

interface Mark {
  readonly at: number;
  readonly gone: number;
}

export interface Queue {
  readonly waiting: number;
  /** Those who waited and wait no more, since the start. */
  readonly gone: number;
  /** Monotonic, ms. */
  readonly now: number;
}

export class Pace {
  /** One to two windows ago, where anybody was refused then. */
  #older: Mark = { at: Number.NEGATIVE_INFINITY, gone: 0 };
  #newer: Mark = this.#older;

  /** Whole seconds, 1 to 60; 1 while nothing is known, at the first refusal since long. */
  retryAfterS({ waiting, gone, now }: Queue): number {
    const age = now - this.#newer.at;
    if (age >= WINDOW_MS) {
      const mark = { at: now, gone };
      this.#older = age < 2 * WINDOW_MS ? this.#newer : mark;
      this.#newer = mark;
    }
    // One more than went: where nobody did, the pace is at most that.
    const msEach = (now - this.#older.at) / (gone - this.#older.gone + 1);
    return Math.min(RETRY_AFTER_S_MAX, Math.max(1, Math.ceil((waiting * msEach) / 1_000)));
  }
}
