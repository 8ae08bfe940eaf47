// One engine server as the shell sees it: its connections, its driver, and the loop that looks whether it is up. It makes every load
// and unload end in a plain yes or no. It must not know the router, nor choose what is loaded.
import { basename, posix } from 'node:path';
import type { Dispatcher } from 'undici';
import type { AdapterId, BackendName, BaseName, Weights } from '../domain.ts';
import { isNobodyThere, NoAnswer } from './ask.ts';
import { type Dialect, type Driver, EngineDied, type LoadOutcome, type Probe, type UnloadOutcome } from './driver.ts';
import { type BackendKind, DRIVERS } from './drivers.ts';
import { enginePool, type PoolOptions } from './pool.ts';

/** A probe whose slots are known: learned, set in the config, or guessed. */
export type Sighting = Probe & { readonly slots: number };

/** Called in the order in which things happened: `onObserved` only between an `onUp` and the next `onDown`. Must not throw. */
export interface BackendReport {
  /** It answers, and holds what `sighting` lists. `about` says in a line what it is. */
  onUp(sighting: Sighting, about: string): void;
  /** It holds nothing any more. Called again when the reason changes while it is down. `died`: its process has ended for sure. */
  onDown(about: string, died: boolean): void;
  /** `askedAtMs`: when the question was put, on performance.now's clock. */
  onObserved(sighting: Sighting, askedAtMs: number): void;
}

export interface BackendOptions {
  readonly name: BackendName;
  /** Without a slash at the end. */
  readonly url: string;
  readonly kind: BackendKind;
  /** Learned from the engine when undefined. */
  readonly slots?: number | undefined;
  /** Where the engine sees the adapter store, when it mounts it under another path than the gateway's. */
  readonly storePath?: string | undefined;
  /** These three are of a service that finds checkpoints by their names; see config.ts. */
  readonly bases?: readonly BaseName[] | undefined;
  readonly models?: Readonly<Record<string, string>> | undefined;
  readonly health?: 'models' | 'none' | undefined;
  readonly credentials?: Omit<PoolOptions, 'connectMs'> | undefined;
  /** These two are read at each use, but for `connectMs`: they may change. */
  readonly deadlines: { readonly connectMs: number; readonly loadMs: number };
  readonly probe: { readonly everyMs: number; readonly timeoutMs: number };
  readonly report: BackendReport;
}

export type Loaded = Exclude<LoadOutcome, { kind: 'unknown' }>;
export type Unloaded = Exclude<UnloadOutcome, { kind: 'unknown' }>;

/** An engine that has been busy for one probe is not down; after this many without an answer it is. */
const MISSES_MAX = 2;
/** A first token may take this long on a cold engine. */
const LEARN_MS = 10_000;
/** Before an outcome that nobody knows is asked for again: doubled each time, up to the second. */
const ASK_AGAIN_MS = { first: 250, max: 5_000 };

export class Backend {
  readonly name: BackendName;
  readonly url: string;
  /** The url's path, to be put before each route's; empty for most. */
  readonly prefix: string;
  /** For forward.ts too. Made for the url's origin. */
  readonly pool: Dispatcher;
  readonly kind: BackendKind;
  readonly #options: BackendOptions;
  readonly #driver: Driver;
  readonly #closing = new AbortController();
  /** Lives while the engine is up; loads and unloads end with it. */
  #era: AbortController | undefined;
  #about = 'not looked at yet';
  #sighting: Sighting | undefined;
  /** When the question was put that #sighting answers. */
  #sightedAtMs = 0;
  #downAtMs = 0;
  #misses = 0;
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BackendOptions) {
    const { name, url, kind, slots, deadlines } = options;
    this.name = name;
    this.url = url;
    this.prefix = new URL(url).pathname.replace(/\/$/, '');
    this.pool = enginePool(new URL(url).origin, { connectMs: deadlines.connectMs, ...options.credentials });
    this.#options = options;
    this.kind = kind;
    this.#driver = DRIVERS[kind]({
      ...{ url, slots, dispatcher: this.pool, pathFor: (path) => this.pathFor(path) },
      ...{ bases: options.bases, models: options.models, health: options.health },
    });
  }

  /** How requests for it name what they want. */
  get dialect(): Dialect {
    return this.#driver;
  }

  get isUp(): boolean {
    return this.#era !== undefined;
  }

  /** Another object each time that it comes up; undefined while it is down. */
  get life(): object | undefined {
    return this.#era;
  }

  /** What it is while up, why not while down: a line for people. */
  get about(): string {
    return this.#about;
  }

  /** What it last said of itself, kept while it is down. */
  get sighting(): Sighting | undefined {
    return this.#sighting;
  }

  /** Begins to look, again and again. Resolves when the engine was asked once, whatever it said. */
  start(): Promise<void> {
    return this.probeNow();
  }

  /** Looks at once, and resolves when the reports are made. Joins a look that is under way. */
  probeNow(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
      this.#schedule();
    });
    return this.#looking;
  }

  /** A request could not connect: the engine counts as down until a look says otherwise. */
  suspect(about: string): void {
    if (this.isUp) this.#goDown(about, false);
    void this.probeNow();
  }

  /** A directory of the adapter store, as this engine is told it and lists it. */
  pathFor(path: string): string {
    const { storePath } = this.#options;
    return storePath === undefined ? path : posix.join(storePath, basename(path));
  }

  load(weights: Weights): Promise<Loaded> {
    const { path } = weights;
    const seen: Weights = { ...weights, path: path === undefined ? undefined : this.pathFor(path) };
    return this.#settle<LoadOutcome, Loaded>({
      request: (signal) => this.#driver.load(seen, signal),
      proven: ({ adapters }) =>
        seen.path !== undefined && adapters?.get(seen.id) === seen.path ? { kind: 'loaded' } : undefined,
      failed: (message) => ({ kind: 'failed', fault: 'backend', message }),
    });
  }

  unload(adapter: AdapterId): Promise<Unloaded> {
    return this.#settle<UnloadOutcome, Unloaded>({
      request: (signal) => this.#driver.unload(adapter, signal),
      proven: ({ adapters }) => (adapters?.has(adapter) === false ? { kind: 'unloaded' } : undefined),
      failed: (message) => ({ kind: 'failed', message }),
    });
  }

  /** Looks and loads no more, and makes no report; requests go on. */
  leave(): void {
    this.#closing.abort();
    this.#era?.abort();
    this.#era = undefined;
    this.#about = 'closed';
    clearTimeout(this.#timer);
  }

  /** Ends everything at once, requests in flight too; `gently` lets those end first. No report is made afterwards. */
  async close({ gently = false } = {}): Promise<void> {
    this.leave();
    await this.#looking;
    if (gently) await this.pool.close();
    else await this.pool.destroy();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    const { everyMs } = this.#options.probe;
    const calm = this.isUp && this.#misses === 0;
    this.#timer = setTimeout(() => this.probeNow(), calm ? everyMs : Math.ceil(everyMs / 4)).unref();
  }

  async #look(): Promise<void> {
    const askedAtMs = performance.now();
    let probe: Probe;
    try {
      probe = await this.#driver.probe(this.#within(this.#options.probe.timeoutMs));
    } catch (error) {
      return this.#missed(error);
    }
    if (this.#closing.signal.aborted) return;
    // It went down after the question was put: the answer is of the time before.
    if (askedAtMs < this.#downAtMs) return;
    this.#misses = 0;
    const before = this.#sighting;
    if (this.isUp && isOther(before, probe)) {
      this.#goDown(`${this.url} was restarted`, true);
      // What was loaded since the question was put is not in its answer, and would run beside what the slots are given to.
      return this.#look();
    }
    this.#sightedAtMs = askedAtMs;
    if (!this.isUp || before === undefined) return this.#goUp(probe);
    this.#sighting = { ...probe, slots: probe.slots ?? before.slots };
    this.#options.report.onObserved(this.#sighting, askedAtMs);
  }

  #missed(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const about = error instanceof Error ? error.message : String(error);
    this.#misses += 1;
    const passing = error instanceof NoAnswer && error.kind !== 'refused';
    if (this.isUp && passing && this.#misses < MISSES_MAX) return;
    const died = error instanceof EngineDied || (error instanceof NoAnswer && isNobodyThere(error));
    if (this.isUp || about !== this.#about) this.#goDown(about, died);
  }

  #goDown(about: string, died: boolean): void {
    this.#about = about;
    this.#downAtMs = performance.now();
    this.#era?.abort();
    this.#era = undefined;
    this.#options.report.onDown(about, died);
  }

  async #goUp(probe: Probe): Promise<void> {
    const { slots, note } =
      probe.slots === undefined
        ? await this.#driver.learnSlots(probe, this.#within(LEARN_MS))
        : { slots: probe.slots, note: undefined };
    if (this.#closing.signal.aborted) return;
    this.#era = new AbortController();
    this.#sighting = { ...probe, slots };
    this.#about = describe(this.#options.kind, this.#sighting, note);
    this.#options.report.onUp(this.#sighting, this.#about);
  }

  /**
   * Asks until somebody knows: the engine's answer, or its list. A name that is not listed may still be on its way, so a load is asked
   * for again; vLLM takes one load or unload of a name at a time, and the second is answered after the first has ended. Ends as failed
   * when the engine goes down: then it holds nothing.
   */
  async #settle<Outcome extends { kind: string }, Settled extends Outcome>(question: {
    request: (signal: AbortSignal) => Promise<Outcome>;
    /** What a list shows that was asked for after the request; undefined while it proves nothing. */
    proven: (sighting: Sighting) => Settled | undefined;
    failed: (message: string) => Settled;
  }): Promise<Settled> {
    const era = this.#era?.signal;
    for (let pauseMs = ASK_AGAIN_MS.first; era?.aborted === false; pauseMs = Math.min(2 * pauseMs, ASK_AGAIN_MS.max)) {
      const requestedAtMs = performance.now();
      const outcome = await question.request(
        AbortSignal.any([era, AbortSignal.timeout(this.#options.deadlines.loadMs)]),
      );
      // Whatever went wrong, a dead engine is found out now rather than at the next round of the loop.
      const looked = outcome.kind === 'failed' || outcome.kind === 'unknown' ? this.probeNow() : undefined;
      // That the engine died is told first, so that what it died of is not tried on the next one: but of what it never heard, it did not.
      if (!('unsent' in outcome && outcome.unsent)) await looked;
      if (isSettled<Outcome, Settled>(outcome)) return outcome;
      if (era.aborted) break;
      const seen = this.#sightedAtMs > requestedAtMs ? this.#sighting : undefined;
      const proven = seen && question.proven(seen);
      if (proven !== undefined) return proven;
      await pause(pauseMs, era);
    }
    return question.failed(`the engine is down: ${this.#about}`);
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(ms)]);
  }
}

const isSettled = <Outcome extends { kind: string }, Settled extends Outcome>(outcome: Outcome): outcome is Settled =>
  outcome.kind !== 'unknown';

/** Another process answers than before. */
const isOther = (before: Probe | undefined, now: Probe): boolean =>
  before?.startedAt !== undefined && now.startedAt !== undefined && before.startedAt !== now.startedAt;

function describe(kind: BackendKind, { version, bases, slots }: Sighting, note: string | undefined): string {
  const what = [kind, ...(version === undefined ? [] : [version])].join(' ');
  const names = bases.map(({ name }) => name).join(', ');
  const room = kind === 'openai-compatible' ? 'no slots' : `${slots} ${slots === 1 ? 'slot' : 'slots'}`;
  const line = `${what}, base ${names}, ${room}`;
  return note === undefined ? line : `${line}; ${note}`;
}

/** Also ends when the signal aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
