// One engine that the gateway started: its process from the start to the end, started again when it ends. It outlives the gateway, which
// finds it again. What it is started with was decided before (spec.ts); it must not know the router, nor HTTP towards callers.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { NoAnswer } from '../backends/ask.ts';
import { DRIVERS } from '../backends/drivers.ts';
import { enginePool } from '../backends/pool.ts';
import { StepgateError } from '../errors.ts';
import type { EngineRow } from '../registry/store.ts';
import { Backoff, type BackoffOptions } from './backoff.ts';
import type { LogFile } from './log-file.ts';
import { isFree, portOf } from './ports.ts';
import { endProcess, findProcess, type ProcessId, type Started, startProcess, watchProcess } from './processes.ts';
import { type EngineSpec, specOf } from './spec.ts';

export interface EngineParts {
  readonly row: EngineRow;
  readonly log: LogFile;
  /** For a process that is about to be started. @throws StepgateError forbidden */
  readonly env: () => NodeJS.ProcessEnv;
  readonly backoff: BackoffOptions;
  /** Between asking its processes to end and killing them. */
  readonly termMs: number;
  /** Durable when it returns. */
  readonly save: (row: EngineRow) => void;
  /** It is ready for the first time. Resolves when requests can be placed there. */
  readonly onReady: (row: EngineRow) => Promise<void>;
  /** It has ended by itself. */
  readonly onEnd: () => void;
  /** It is started no more. */
  readonly onGivenUp: () => void;
  /** It never got ready, and nothing of it is left but its log. */
  readonly onNeverReady: (about: string) => void;
  readonly logger: Logger;
  /** Unix time, ms. */
  readonly nowMs: () => number;
}

export type EngineState =
  | { readonly kind: 'starting' | 'up' | 'stopping'; readonly sinceMs: number }
  | { readonly kind: 'restarting'; readonly atMs: number; readonly about: string }
  | { readonly kind: 'failed'; readonly about: string };

/** Between two questions whether it is ready. */
const ASK_MS = 500;
const ANSWER_MS = 2_000;
const BOUND_LOG_MS = 1_000;
const TAKEN_BACK = 'it was taken back';

export class Engine {
  readonly log: LogFile;
  readonly spec: EngineSpec;
  readonly #parts: EngineParts;
  readonly #backoff: Backoff;
  /** It is to be ended, or the gateway ends and leaves it running: it is watched no more. */
  readonly #leaving = new AbortController();
  /** The gateway ends. */
  readonly #closing = new AbortController();
  #row: EngineRow;
  #state: EngineState;
  #life: Promise<void> = Promise.resolve();
  #ending: Promise<void> | undefined;
  #restarts = 0;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.log = parts.log;
    this.#row = parts.row;
    this.spec = specOf(parts.row);
    this.#backoff = new Backoff(parts.backoff);
    this.#state = { kind: 'starting', sinceMs: parts.nowMs() };
  }

  get row(): EngineRow {
    return this.#row;
  }

  get state(): EngineState {
    return this.#state;
  }

  /** How often it was started again since this gateway knows it. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The number of its process; undefined: none runs. */
  get pid(): number | undefined {
    return this.#state.kind === 'restarting' || this.#state.kind === 'failed' ? undefined : this.#row.process?.pid;
  }

  /** Starts it. */
  begin(): void {
    this.#live(() => this.#loop(undefined));
  }

  /** Finds it again, as another gateway left it, or does what that one would have done. */
  resume(): void {
    if (this.#row.phase === 'failed') this.#state = { kind: 'failed', about: this.#row.about ?? 'it was given up' };
    else this.#live(() => this.#resume());
  }

  /** Ends its process and all that it started. Idempotent. Resolves when nothing of it lives. @throws StepgateError shutting_down, storage_full */
  end(): Promise<void> {
    this.#ending ??= this.#end().catch((error: unknown) => {
      this.#ending = undefined;
      throw error;
    });
    return this.#ending;
  }

  /** Watches it no more, and leaves it running; one that is being ended is left to the next gateway. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#leaving.abort();
    await this.#life;
    await this.#ending?.catch(() => {});
  }

  async #end(): Promise<void> {
    const { signal } = this.#closing;
    if (signal.aborted) throw stopping('it was not ended');
    this.#save({ phase: 'stopping' });
    this.#state = { kind: 'stopping', sinceMs: this.#parts.nowMs() };
    this.#leaving.abort();
    await this.#life;
    await endProcess(this.#row.process, this.log, { graceMs: this.#parts.termMs, signal });
    if (signal.aborted) throw stopping('the next one goes on to end it');
  }

  /** What its last process has left; not all of it where the engine is left meanwhile. */
  async #clean(): Promise<void> {
    const { signal } = this.#leaving;
    await endProcess(this.#row.process, this.log, { graceMs: this.#parts.termMs, signal });
    // The number may be a stranger's from now on.
    if (!signal.aborted) this.#row = { ...this.#row, process: undefined };
  }

  #live(life: () => Promise<void>): void {
    const bounding = setInterval(() => void this.log.keepBounded().catch(() => {}), BOUND_LOG_MS).unref();
    this.#life = life()
      .catch((error: unknown) => {
        const about = error instanceof Error ? error.message : String(error);
        this.#parts.logger.error({ err: error, engine: this.#row.name }, 'engine: it can be watched no more');
        this.#state = { kind: 'failed', about };
      })
      .finally(() => clearInterval(bounding));
  }

  async #resume(): Promise<void> {
    const { process, phase, name } = this.#row;
    const found = await findProcess(process, this.log);
    if (found === undefined && phase === 'starting') {
      await this.#clean();
      return this.#isLeaving ? undefined : this.#neverReady('it ended while the gateway was not there');
    }
    this.#parts.logger.info(
      { engine: name, pid: found?.pid },
      found ? 'engine found again' : 'engine has ended meanwhile',
    );
    if (found === undefined) {
      this.#restarts += 1;
      await this.#clean();
    }
    if (!this.#isLeaving) await this.#loop(found);
  }

  async #loop(first: ProcessId | undefined): Promise<void> {
    const { logger } = this.#parts;
    const { name } = this.#row;
    for (let found = first; ; found = undefined) {
      const { upMs, about } = await this.#run(found);
      if (this.#isLeaving) return;
      this.#parts.onEnd();
      const waitMs = this.#row.phase === 'starting' ? undefined : this.#backoff.ended(upMs);
      if (waitMs !== undefined) this.#state = { kind: 'restarting', atMs: this.#parts.nowMs() + waitMs, about };
      await this.#clean();
      if (this.#isLeaving) return;
      if (waitMs === undefined) return this.#row.phase === 'starting' ? this.#neverReady(about) : this.#giveUp(about);
      logger.warn({ engine: name, about, waitMs }, 'engine ended: it is started again');
      await sleep(waitMs, undefined, { signal: this.#leaving.signal, ref: false }).catch(() => {});
      if (this.#isLeaving) return;
      this.#restarts += 1;
    }
  }

  get #isLeaving(): boolean {
    return this.#leaving.signal.aborted;
  }

  /** One process, from its start or from when it was found to its end, or to when it is to be ended. `upMs`: how long it was ready. */
  async #run(found: ProcessId | undefined): Promise<{ upMs: number; about: string }> {
    const { nowMs, logger, onReady } = this.#parts;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#leaving.signal]);
    // One that was ready once has no time to get ready in: a busy one must not be taken for one that never did.
    const isFirst = found !== undefined && this.#row.phase === 'starting';
    const ageMs = isFirst ? Math.max(0, nowMs() - this.#row.createdAtMs) : 0;
    this.#state = { kind: 'starting', sinceMs: nowMs() - ageMs };
    // The clock may be set while it starts, the more when the machine does too.
    const readyBy = performance.now() + this.spec.waitMs - ageMs;
    try {
      const running = found === undefined ? await this.#start() : watchProcess(found, signal);
      if (found !== undefined) this.#save({ process: found });
      const end = Promise.race([running.ended, aborted(signal)]);
      const problem = await Promise.race([end, this.#ready(signal, readyBy)]);
      if (problem !== undefined) return { upMs: 0, about: problem };
      const since = performance.now();
      if (this.#row.phase === 'starting') {
        await onReady(this.#row);
        if (this.#isLeaving) return { upMs: 0, about: TAKEN_BACK };
        this.#save({ phase: 'serving' });
      }
      this.#state = { kind: 'up', sinceMs: nowMs() };
      logger.info({ engine: this.#row.name, pid: running.pid, url: this.spec.url }, 'engine up');
      const about = await end;
      return { upMs: performance.now() - since, about };
    } catch (error) {
      return { upMs: 0, about: error instanceof Error ? error.message : String(error) };
    } finally {
      over.abort();
    }
  }

  async #start(): Promise<Started> {
    const { env, logger } = this.#parts;
    const port = portOf(this.spec.url);
    // Whoever listens there would be taken for it until it has found that out itself.
    if (!(await isFree(port))) throw new Error(`its port ${port} is taken by another program`);
    const started = await startProcess(this.spec.argv, { env: env(), log: this.log });
    const { pid, born } = started;
    try {
      this.#save({ process: { pid, born } });
    } catch (error) {
      // A full disk is no reason to end it: where its number is not known, the next gateway finds it by the log that it writes.
      this.#row = { ...this.#row, process: { pid, born } };
      logger.warn({ err: error, engine: this.#row.name, pid }, 'engine started, but that could not be written down');
    }
    logger.info({ engine: this.#row.name, pid, argv: this.spec.argv }, 'engine started');
    return started;
  }

  /** Undefined: it answers as an engine does. Else why it counts as failed. */
  async #ready(signal: AbortSignal, readyBy: number): Promise<string | undefined> {
    const { url, waitMs, slots } = this.spec;
    const pool = enginePool(url, { connectMs: ANSWER_MS });
    const driver = DRIVERS.vllm({ url, slots, dispatcher: pool });
    let last = '';
    try {
      while (!signal.aborted) {
        try {
          await driver.probe(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
          return undefined;
        } catch (error) {
          last = sayUnready(error, url);
        }
        if (performance.now() >= readyBy) return `it was not ready within ${Math.round(waitMs / 1000)} s (${last})`;
        await sleep(ASK_MS, undefined, { signal, ref: false }).catch(() => {});
      }
      return TAKEN_BACK;
    } finally {
      await pool.destroy();
    }
  }

  #neverReady(about: string): void {
    this.#state = { kind: 'failed', about };
    this.#parts.onNeverReady(about);
  }

  #giveUp(about: string): void {
    const why = `given up after it ended ${this.#backoff.ends} times: ${about}`;
    this.#parts.logger.error({ engine: this.#row.name, about: why }, 'engine failed');
    this.#save({ phase: 'failed', about: why });
    this.#state = { kind: 'failed', about: why };
    this.#parts.onGivenUp();
  }

  #save(change: Partial<EngineRow>): void {
    const row = { ...this.#row, ...change };
    this.#parts.save(row);
    this.#row = row;
  }
}

const stopping = (what: string) => new StepgateError('shutting_down', `the gateway is stopping: ${what}`);

function sayUnready(error: unknown, url: string): string {
  if (error instanceof NoAnswer && error.kind === 'refused') return `nothing listens at ${url}`;
  return error instanceof Error ? error.message : String(error);
}

const aborted = (signal: AbortSignal): Promise<string> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(TAKEN_BACK);
    else signal.addEventListener('abort', () => resolve(TAKEN_BACK), { once: true });
  });
