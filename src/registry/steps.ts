// Checkpoints in the ascending order of their steps, found by bisection: nothing here looks at more of them than it must. Pure.
import type { Checkpoint } from '../domain.ts';

export type Stepped = Checkpoint & { readonly step: number };

export class Steps {
  readonly #rows: Stepped[] = [];

  get length(): number {
    return this.#rows.length;
  }

  get first(): Stepped | undefined {
    return this.#rows[0];
  }

  get last(): Stepped | undefined {
    return this.#rows.at(-1);
  }

  /** In place of what had its step. */
  put(row: Stepped): void {
    const at = this.from(row.step);
    this.#rows.splice(at, this.#rows[at]?.step === row.step ? 1 : 0, row);
  }

  delete(step: number): void {
    const at = this.from(step);
    if (this.#rows[at]?.step === step) this.#rows.splice(at, 1);
  }

  get(step: number): Stepped | undefined {
    const row = this.#rows[this.from(step)];
    return row?.step === step ? row : undefined;
  }

  at(index: number): Stepped | undefined {
    return index < 0 ? undefined : this.#rows[index];
  }

  /** The index of the first row whose step is at least this one; the length where there is none. */
  from(step: number): number {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#rows[middle]?.step ?? Number.POSITIVE_INFINITY) < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Up to `count` rows around this step, ascending. */
  around(step: number, count: number): readonly Stepped[] {
    const at = this.from(step);
    return this.#rows
      .slice(Math.max(0, at - count), at + count)
      .sort((a, b) => Math.abs(a.step - step) - Math.abs(b.step - step) || a.step - b.step)
      .slice(0, count)
      .sort((a, b) => a.step - b.step);
  }

  all(): readonly Stepped[] {
    return this.#rows;
  }

  /** The best of them; undefined where none has the metric. */
  reduce(better: (candidate: Stepped, than: Stepped | undefined) => boolean): Stepped | undefined {
    let best: Stepped | undefined;
    for (const row of this.#rows) if (better(row, best)) best = row;
    return best;
  }
}
