// Carries an agenda out: so many requests at once, each until it has an answer that counts, each answer written down as it comes.
// Stops when it is told to, or when the gateway has answered nothing for too long; what has no answer then is what the next run asks for.
import { setTimeout as sleep } from 'node:timers/promises';
import { Agenda, type Item, type Work } from './agenda.ts';
import { isOk, type ResultLine, type Results, type StepSum, tokensOf } from './results.ts';
import type { Sender } from './send.ts';

export interface RunParts {
  readonly work: readonly Work[];
  /** As they were before; kept up to date. */
  readonly sums: Map<number, StepSum>;
  readonly results: Results;
  readonly sender: Sender;
  readonly concurrency: number;
  readonly abreast: number;
  /** How long nothing may be answered, ms. */
  readonly patienceMs: number;
  readonly stop: AbortSignal;
  readonly watcher: Watcher;
  /** The sweep's id as it is now. */
  readonly sweepId: () => string;
}

/** Hears how it goes. */
export interface Watcher {
  /** @param left requests of this step that have no answer yet */
  answered(line: ResultLine, left: number): void;
  /** Requests are refused for now, or nobody is there. Told once, until `recovered`. */
  troubled(why: string): void;
  recovered(): void;
}

const BACK_OFF_MS = 250;
const BACK_OFF_MS_MAX = 15_000;
/** Of a request on which the engine fails. */
const FAILURES_MAX = 3;

export class Run {
  readonly #parts: RunParts;
  readonly #left: Map<number, number>;
  readonly #startedAt = new Map<number, number>();
  readonly #secondsBefore: ReadonlyMap<number, number>;
  readonly #stopped: AbortController;
  #isTroubled = false;
  #answeredAt = performance.now();
  #gaveUp: string | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#left = new Map(parts.work.map(({ step, requests }) => [step, requests.length]));
    this.#secondsBefore = new Map([...parts.sums].map(([step, { seconds }]) => [step, seconds]));
    this.#stopped = new AbortController();
    parts.stop.addEventListener('abort', () => this.#stopped.abort());
    if (parts.stop.aborted) this.#stopped.abort();
  }

  /** @returns why it ended before everything had an answer; undefined: everything has */
  async carryOut(): Promise<string | undefined> {
    const { work, concurrency, abreast, stop } = this.#parts;
    const agenda = new Agenda(work, abreast);
    const hand = async () => {
      for (let item = agenda.next(); item !== undefined; item = agenda.next()) {
        await this.#until(item);
        item.ended();
        if (this.#stopped.signal.aborted) return;
      }
    };
    try {
      await Promise.all(Array.from({ length: concurrency }, hand));
    } finally {
      this.#stopped.abort();
    }
    return stop.aborted ? 'stopped' : this.#gaveUp;
  }

  /** Asks until there is an answer that counts, or the run has ended. */
  async #until(item: Item): Promise<void> {
    const { sender, sweepId } = this.#parts;
    const { signal } = this.#stopped;
    const { step } = item.work;
    if (!this.#startedAt.has(step)) this.#startedAt.set(step, performance.now());
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        const sent = await sender.send(item, sweepId(), signal);
        if (sent.kind === 'line') return this.#write(step, sent.line);
        if (sent.line !== undefined && tries >= FAILURES_MAX) return this.#write(step, sent.line);
        if (this.#isPatient(sent.why)) await sleep(delayMs(tries, sent.afterMs), undefined, { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  #isPatient(why: string): boolean {
    if (!this.#isTroubled) this.#parts.watcher.troubled(why);
    this.#isTroubled = true;
    if (performance.now() - this.#answeredAt < this.#parts.patienceMs) return true;
    this.#gaveUp = why;
    this.#stopped.abort();
    return false;
  }

  #write(step: number, line: ResultLine): void {
    const { results, sums, watcher } = this.#parts;
    results.append(step, line);
    const now = performance.now();
    this.#answeredAt = now;
    if (this.#isTroubled) watcher.recovered();
    this.#isTroubled = false;
    const sum = sums.get(step);
    if (sum === undefined) return;
    const good = isOk(line);
    sums.set(step, {
      ...sum,
      ok: sum.ok + Number(good),
      failed: sum.failed + Number(!good),
      tokens: sum.tokens + (good ? tokensOf(line.response?.body) : 0),
      seconds: tenths((this.#secondsBefore.get(step) ?? 0) + (now - (this.#startedAt.get(step) ?? now)) / 1000),
    });
    const left = (this.#left.get(step) ?? 0) - 1;
    this.#left.set(step, left);
    watcher.answered(line, left);
  }
}

const tenths = (seconds: number): number => Math.round(seconds * 10) / 10;

/** Doubles with each try, half of it by chance, so that those who were refused together do not come back together. */
function delayMs(tries: number, afterMs: number): number {
  const most = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** (tries - 1));
  return Math.max(afterMs, most * (0.5 + Math.random() / 2));
}
