// How far a sweep is: a bar on a terminal, else a line every few seconds; and the table at its end. Prints, and knows nothing of requests.
import { Rate } from '../../sweeps/rate.ts';
import { sayAge, type Terminal, table } from '../terminal.ts';
import { isOk, type ResultLine, type StepSum } from './results.ts';
import type { Watcher } from './run.ts';

const BAR_EVERY_MS = 200;
const LINE_EVERY_MS = 5_000;
const BAR_WIDTH_MAX = 30;

export interface Extent {
  readonly steps: number;
  readonly stepsDone: number;
  readonly requests: number;
  readonly requestsDone: number;
}

export class Progress implements Watcher {
  readonly #terminal: Terminal;
  readonly #isBar: boolean;
  readonly #extent: Extent;
  readonly #rate = new Rate(performance.now());
  readonly #onRecovered: () => void;
  readonly #timer: NodeJS.Timeout;
  #done: number;
  #stepsDone: number;
  #failed = 0;

  /** @param options.quiet stdout is for the result alone */
  constructor(terminal: Terminal, extent: Extent, { quiet, onRecovered }: { quiet: boolean; onRecovered: () => void }) {
    this.#terminal = terminal;
    this.#isBar = terminal.interactive && !quiet;
    this.#extent = extent;
    this.#done = extent.requestsDone;
    this.#stepsDone = extent.stepsDone;
    this.#onRecovered = onRecovered;
    this.#timer = setInterval(() => this.#show(), this.#isBar ? BAR_EVERY_MS : LINE_EVERY_MS);
  }

  answered(line: ResultLine, left: number): void {
    this.#done++;
    if (left === 0) this.#stepsDone++;
    if (!isOk(line)) this.#failed++;
    this.#rate.note(performance.now());
  }

  troubled(why: string): void {
    this.#say(`the gateway refuses for now (${why}); trying again`);
  }

  recovered(): void {
    this.#say('the gateway answers again');
    this.#onRecovered();
  }

  #say(text: string): void {
    if (this.#isBar) this.#terminal.show('');
    this.#terminal.err(text);
  }

  #show(): void {
    if (this.#isBar) this.#terminal.show(this.bar(this.#terminal.width - 1));
    else this.#terminal.err(this.#words());
  }

  #words(): string {
    const { steps, requests } = this.#extent;
    const perSecond = this.#rate.perSecond(performance.now());
    const eta = perSecond > 0 ? `${sayAge(((requests - this.#done) / perSecond) * 1000)} left` : 'just begun';
    const failed = this.#failed > 0 ? `, ${this.#failed} failed` : '';
    return `${this.#stepsDone}/${steps} steps, ${this.#done}/${requests} requests, ${sayRate(perSecond)}/s, ${eta}${failed}`;
  }

  bar(width: number): string {
    const words = this.#words();
    const room = Math.min(BAR_WIDTH_MAX, width - words.length - 3);
    if (room < 5) return words.slice(0, width);
    const filled = Math.floor((room * this.#done) / this.#extent.requests);
    return `[${'#'.repeat(filled)}${'-'.repeat(room - filled)}] ${words}`;
  }

  end(): void {
    clearInterval(this.#timer);
    if (this.#isBar) this.#terminal.show('');
  }
}

const sayRate = (perSecond: number): string => (perSecond < 10 ? perSecond.toFixed(1) : `${Math.round(perSecond)}`);

/** A row for each step. */
export function sumTable(sums: readonly (StepSum & { name: string; missing: number })[], width: number): string {
  const isWhole = sums.every(({ missing }) => missing === 0);
  const rows = sums.map(({ name, ok, failed, missing, tokens, seconds }) => [
    name,
    `${ok}`,
    `${failed}`,
    ...(isWhole ? [] : [`${missing}`]),
    `${tokens}`,
    seconds.toFixed(1),
  ]);
  return table(['STEP', 'OK', 'FAILED', ...(isWhole ? [] : ['MISSING']), 'TOKENS', 'SECONDS'], rows, width);
}
