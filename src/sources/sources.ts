// Adapters from elsewhere: who waits for which fetch, and what becomes of what was fetched. Two who ask for the same share one fetch; it
// goes on while anybody waits. The files go when they were used or are of no use, and stay for the next try where the fetch broke off.
import type { Logger } from 'pino';
import type { SourcesConfig } from '../config.ts';
import { StepgateError } from '../errors.ts';
import { Connections } from './client.ts';
import { BrokenOff, PAUSES_MS, unlessAborted } from './failures.ts';
import { type Fetched, fetchSource, type Progress } from './fetch.ts';
import type { SourceKeys } from './rules.ts';
import { type Held, Staging } from './staging.ts';
import { parseSource, print, type Source, type SourceKind } from './uri.ts';

export type { Progress } from './fetch.ts';
export type { SourceKeys } from './rules.ts';

export type FetchOutcome = 'fetched' | 'broken_off' | 'refused';

export interface SourcesParts {
  readonly dataDir: string;
  readonly settings: () => SourcesConfig;
  readonly keys: SourceKeys;
  /** See FetchParts. */
  readonly promise: (bytes: number, uri: string) => () => void;
  /** A fetch has begun, or ended. */
  readonly tell: (news: FetchNews) => void;
  readonly log: Logger;
  readonly nowMs: () => number;
  /** Between the tries. Left out: those of people's patience. */
  readonly pausesMs?: readonly number[];
}

export type FetchNews =
  | { readonly phase: 'begun'; readonly source: string }
  | {
      readonly phase: FetchOutcome;
      readonly source: string;
      readonly kind: SourceKind;
      readonly bytes: number;
      readonly tookMs: number;
      /** Why it failed. */
      readonly about?: string;
    };

export interface Waiter {
  /** Its reason is what the caller is told. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

interface Flight {
  readonly done: Promise<Fetched>;
  readonly stop: AbortController;
  readonly listeners: Set<(progress: Progress) => void>;
  waiting: number;
  progress: Progress;
  held: Held | undefined;
  /** Whether the files are to stay when nobody needs them now. */
  keep: boolean;
}

/** Fetches at once. */
const FLIGHTS_MAX = 8;

export class Sources {
  readonly #parts: SourcesParts;
  readonly #staging: Staging;
  readonly #connections = new Connections();
  readonly #flights = new Map<string, Flight>();
  /** Until who asked is told. */
  readonly #brings = new Set<Promise<unknown>>();
  #keys: SourceKeys;
  #closed = false;

  constructor(parts: SourcesParts) {
    this.#parts = parts;
    this.#keys = parts.keys;
    this.#staging = new Staging(parts.dataDir, parts.nowMs);
    void this.#staging.sweep();
  }

  /** From the next fetch on. */
  configure(keys: SourceKeys): void {
    this.#keys = keys;
  }

  /**
   * Fetches the source, and gives its files to `use`; when that has ended they are gone.
   * @throws what fetchSource and `use` throw; invalid_request, no_capacity, shutting_down; the signal's reason
   */
  async bring<T>(text: string, waiter: Waiter, use: (fetched: Fetched) => Promise<T>): Promise<T> {
    const brought = this.#bring(text, waiter, use);
    this.#brings.add(brought);
    return brought.finally(() => this.#brings.delete(brought));
  }

  /** Stops all fetches; what they have stays for the next start. Resolves when those who waited are told. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new StepgateError(
      'shutting_down',
      'The gateway is stopping. What was fetched is kept: ask again when it is back.',
    );
    for (const { stop } of this.#flights.values()) stop.abort(reason);
    await Promise.allSettled(this.#brings);
    await this.#connections.close();
  }

  async #bring<T>(text: string, { signal, onProgress }: Waiter, use: (fetched: Fetched) => Promise<T>): Promise<T> {
    const source = parseSource(text);
    // A signed address is another each time: only the same words are the same fetch.
    const flight = this.#flights.get(text) ?? this.#begin(text, source);
    flight.waiting++;
    flight.listeners.add(onProgress);
    onProgress(flight.progress);
    try {
      const fetched = await unlessAborted(flight.done, signal);
      onProgress({ ...flight.progress, phase: 'registering' });
      return await use(fetched).catch((error: unknown) => Promise.reject(inWordsOf(fetched, error)));
    } finally {
      flight.listeners.delete(onProgress);
      if (--flight.waiting === 0) await this.#end(text, flight);
    }
  }

  #begin(text: string, source: Source): Flight {
    if (this.#closed) throw new StepgateError('shutting_down', 'The gateway is stopping: nothing is fetched any more.');
    if (this.#flights.size >= FLIGHTS_MAX)
      throw new StepgateError(
        'no_capacity',
        `${FLIGHTS_MAX} sources are being fetched already. Ask again when one is done.`,
        { retryAfterS: 5 },
      );
    const stop = new AbortController();
    const flight: Flight = {
      done: Promise.resolve().then(() => this.#fly(source, flight)),
      stop,
      listeners: new Set(),
      waiting: 0,
      progress: { phase: 'listing', bytes: 0, bytesTotal: undefined },
      held: undefined,
      keep: false,
    };
    flight.done.catch(() => {}); // those who wait hear of it
    this.#flights.set(text, flight);
    return flight;
  }

  async #fly(source: Source, flight: Flight): Promise<Fetched> {
    const { settings, promise, tell, log, nowMs, pausesMs = PAUSES_MS } = this.#parts;
    const [name, began, now] = [print(source), nowMs(), settings()];
    const late = new BrokenOff(
      `${name} took longer than \`sources.fetchMsMax\` allows. What was fetched is kept: ask again and it goes on.`,
    );
    const alarm = setTimeout(() => flight.stop.abort(late), now.fetchMsMax);
    tell({ phase: 'begun', source: name });
    const end = (phase: FetchOutcome, about?: string) => {
      const news = {
        phase,
        source: name,
        kind: source.kind,
        bytes: flight.progress.bytes,
        tookMs: nowMs() - began,
        ...(about && { about }),
      };
      log[phase === 'fetched' ? 'info' : 'warn'](news, 'source');
      tell(news);
    };
    try {
      const fetched = await fetchSource(source, {
        ...{ settings: now, keys: this.#keys, staging: this.#staging, connections: this.#connections, promise },
        tries: { signal: flight.stop.signal, pausesMs },
        onProgress: (progress) => {
          flight.progress = progress;
          for (const listener of flight.listeners) listener(progress);
        },
        onHeld: (held) => {
          flight.held = held;
        },
      });
      end('fetched');
      return fetched;
    } catch (error) {
      flight.keep = error instanceof BrokenOff || flight.stop.signal.aborted;
      end(flight.keep ? 'broken_off' : 'refused', error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      clearTimeout(alarm);
    }
  }

  /** Nobody waits for it any more; who asks for the same from now on begins anew, when the directory is free. */
  async #end(text: string, flight: Flight): Promise<void> {
    this.#flights.delete(text);
    flight.stop.abort(new BrokenOff('Nobody waits for it any more.'));
    await flight.done.catch(() => {});
    await flight.held?.release(flight.keep ? 'keep' : 'drop');
    await this.#staging.sweep();
  }
}

/** What went wrong in the directory went wrong with the source. */
function inWordsOf({ dir, uri }: Fetched, error: unknown): unknown {
  if (!(error instanceof StepgateError) || !error.message.includes(dir)) return error;
  return new StepgateError(error.code, error.message.replaceAll(dir, uri), { param: 'source', cause: error });
}
