// Which directories are watched, and for which model: begins and ends discovery as the config says, and as it changes. What is found is not
// its business (arrivals.ts), nor how (discovery.ts).
import { resolve } from 'node:path';
import type { LayoutName, ModelName } from '../domain.ts';
import { type WatchOptions, watchDirectory } from './discovery.ts';
import { LAYOUTS } from './layouts/layouts.ts';
import type { ModelSettings } from './resolution.ts';

export type WatchedModel = ModelSettings & { readonly layout?: LayoutName | undefined };

export interface Pace {
  readonly settleMs: number;
  readonly rescanMs: number;
}

interface WatchersParts {
  readonly isKnown: (model: ModelName, found: Parameters<WatchOptions['isKnown']>[0]) => boolean;
  readonly onFound: (model: ModelName, found: Parameters<WatchOptions['onFound']>[0]) => Promise<void>;
  /** Sentences for people. */
  readonly onProblem: (about: string) => void;
}

interface Watcher {
  /** What it goes by; of another text another one is begun. */
  readonly by: string;
  readonly stop: AbortController;
}

export class Watchers {
  readonly #parts: WatchersParts;
  readonly #running = new Map<ModelName, Watcher>();
  /** Also those that were told to end, until they have. */
  readonly #ends = new Set<Promise<void>>();
  #isClosed = false;

  constructor(parts: WatchersParts) {
    this.#parts = parts;
  }

  /** Watches these models' directories, each as it says, and no others. What goes on as before is not disturbed. */
  follow(models: ReadonlyMap<ModelName, WatchedModel>, pace: Pace): void {
    if (this.#isClosed) return;
    for (const [model, { stop, by }] of this.#running) {
      const settings = models.get(model);
      if (settings !== undefined && waysOf(settings, pace) === by) continue;
      stop.abort();
      this.#running.delete(model);
    }
    for (const [model, settings] of models)
      if (settings.watch !== undefined && !this.#running.has(model)) this.#begin(model, settings, pace);
  }

  #begin(model: ModelName, settings: WatchedModel, { settleMs, rescanMs }: Pace): void {
    const stop = new AbortController();
    const end = watchDirectory({
      dir: resolve(settings.watch ?? '.'),
      layout: LAYOUTS[settings.layout ?? 'auto'],
      settleMs,
      rescanMs,
      isKnown: (found) => this.#parts.isKnown(model, found),
      onFound: (found) => this.#parts.onFound(model, found),
      onProblem: this.#parts.onProblem,
      signal: stop.signal,
    }).finally(() => this.#ends.delete(end));
    this.#ends.add(end);
    this.#running.set(model, { by: waysOf(settings, { settleMs, rescanMs }), stop });
  }

  /** Ends them all, and waits for what is being taken. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { stop } of this.#running.values()) stop.abort();
    await Promise.allSettled(this.#ends);
  }
}

const waysOf = ({ watch, layout }: WatchedModel, { settleMs, rescanMs }: Pace): string =>
  JSON.stringify([watch, layout ?? 'auto', settleMs, rescanMs]);
