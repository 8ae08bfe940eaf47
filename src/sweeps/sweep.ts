// The books of one evaluation over many steps: what was asked for, what has ended, how fast it goes. No timers, no events: sweeps.ts has those.
import type { CheckpointName, ModelName, SweepId } from '../domain.ts';
import { Rate } from './rate.ts';

export interface Row {
  readonly step: number;
  readonly name: CheckpointName;
  /** Requests in all; undefined: not known, since nobody said. */
  readonly expected: number | undefined;
  /** Ended for good, well or not. */
  done: number;
  failed: number;
  inFlight: number;
}

/** `running`; or why it is no more: all that was expected has ended, nobody asked for so long, or somebody withdrew it. */
export type SweepState = 'running' | 'done' | 'expired' | 'withdrawn';

export interface SweepOptions {
  readonly id: SweepId;
  readonly model: ModelName;
  readonly owner: string | undefined;
  readonly origin: 'announced' | 'noticed';
  /** It ends by itself when nobody has asked for so long. */
  readonly ttlMs: number;
  /** Monotonic, ms. */
  readonly now: number;
}

export class Sweep {
  readonly options: SweepOptions;
  readonly createdAtMs: number;
  /** In the order in which they come. */
  readonly rows = new Map<number, Row>();
  state: SweepState = 'running';
  /** Monotonic; the last request's arrival or end. */
  lastAt: number;
  #rate: Rate | undefined;
  /** Where nobody said what to expect: as many as the largest of the steps before the newest one took. */
  #estimate: number | undefined;
  /** Rows that expect more than has ended, and requests in flight. */
  #open = 0;
  #inFlight = 0;

  constructor(options: SweepOptions, createdAtMs: number) {
    this.options = options;
    this.createdAtMs = createdAtMs;
    this.lastAt = options.now;
  }

  add(row: Pick<Row, 'step' | 'name' | 'expected'>): Row {
    for (const { done } of this.rows.values()) this.#estimate = Math.max(this.#estimate ?? 0, done);
    const added = { ...row, done: 0, failed: 0, inFlight: 0 };
    this.rows.set(row.step, added);
    this.#open++;
    return added;
  }

  took(row: Row, now: number): void {
    row.inFlight++;
    this.#inFlight++;
    this.lastAt = now;
    this.#rate ??= new Rate(now);
  }

  /** @param outcome `again`: it will be asked once more, or never: it does not count */
  ended(row: Row, outcome: 'ok' | 'failed' | 'again', now: number): void {
    row.inFlight--;
    this.#inFlight--;
    this.lastAt = now;
    if (outcome === 'again') return;
    row.done++;
    if (row.done === row.expected) this.#open--;
    if (outcome === 'failed') row.failed++;
    this.#rate?.note(now);
  }

  /** What a step takes. */
  expectedOf({ expected }: Pick<Row, 'expected'>): number | undefined {
    return expected ?? this.#estimate;
  }

  /** Requests still to end, at least those in flight. */
  remainingOf(row: Row): number {
    return Math.max((this.expectedOf(row) ?? 0) - row.done, row.inFlight);
  }

  /** Never one that was only noticed: nobody said how far it goes. */
  get isDone(): boolean {
    return this.#open === 0 && this.#inFlight === 0;
  }

  perSecond(now: number): number {
    return this.#rate?.perSecond(now) ?? 0;
  }

  /** ms; undefined: not known. */
  etaMs(now: number): number | undefined {
    const perSecond = this.perSecond(now);
    if (this.state !== 'running' || perSecond === 0 || this.options.origin === 'noticed') return undefined;
    let remaining = 0;
    for (const row of this.rows.values()) remaining += this.remainingOf(row);
    return (remaining / perSecond) * 1000;
  }
}
