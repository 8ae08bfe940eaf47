// Watches one directory that a trainer fills, and says when a checkpoint in it is complete, or was written again.
// Events (fs.watch) only make it look sooner: a slow rescan finds the same without them. One scan at a time.
// It reads; it neither copies nor remembers across restarts (`isKnown` is asked instead).
import { type FSWatcher, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect, orNothing, type Signature, stampsOf, statOrNothing } from './inspect.ts';
import type { Layout } from './layouts/layout.ts';

export interface Found {
  readonly step: number;
  /** The directory of adapter_config.json. */
  readonly dir: string;
  readonly signature: Signature;
}

export interface WatchOptions {
  readonly dir: string;
  readonly layout: Layout;
  /** How long files without the trainer's marker must not have moved. */
  readonly settleMs: number;
  readonly rescanMs: number;
  /** Files that need not be found again; asked before any of them is read. */
  readonly isKnown: (found: Found) => boolean;
  /** Awaited before the next one; ascending by step within a scan. A rejection is a problem, and tried again at a rescan. */
  readonly onFound: (found: Found) => Promise<void>;
  /** Sentences for people; the same one is not repeated for the same files. */
  readonly onProblem: (about: string) => void;
  readonly signal: AbortSignal;
}

/** Resolves after `signal` aborted, once nothing is open and no scan runs. Never rejects. */
export function watchDirectory(options: WatchOptions): Promise<void> {
  return new DirectoryWatch(options).run();
}

/** What is remembered of one step's directory. */
interface Sight {
  signature: Signature;
  /** When these files were first seen, monotonic ms. */
  readonly sinceMs: number;
  done: boolean;
  /** Not looked at before: its last attempt failed. */
  notBeforeMs: number;
  told: string | undefined;
}

/** Many writes make one look. */
const COALESCE_MS = 25;
/** A directory that does not exist (yet) is looked for this often. */
const MISSING_MS_MAX = 1_000;
/** Watches on directories of unfinished steps; the rescan serves those beyond. */
const WATCHERS_MAX = 16;
/** Stats under way at once: enough to keep the thread pool busy, few enough to leave it to others. */
const STATS_AT_ONCE = 16;

class DirectoryWatch {
  readonly #options: WatchOptions;
  readonly #sights = new Map<string, Sight>();
  readonly #watchers = new Map<string, FSWatcher>();
  #rootIdentity: string | undefined;
  #rootTold: string | undefined;
  #nextFullMs = 0;
  #dueMs = 0;
  #wake: () => void = () => {};

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort);
    while (!signal.aborted) {
      await this.#scan().catch((error: unknown) =>
        this.#tellRoot(`${this.#options.dir} cannot be read: ${messageOf(error)}`),
      );
      if (!signal.aborted) await this.#sleep();
    }
    signal.removeEventListener('abort', onAbort);
    for (const path of this.#watchers.keys()) this.#unwatch(path);
  }

  async #scan(): Promise<void> {
    const { dir, layout, rescanMs, signal } = this.#options;
    const startMs = performance.now();
    const full = startMs >= this.#nextFullMs;
    if (full) this.#nextFullMs = startMs + rescanMs;
    this.#dueMs = this.#nextFullMs;
    await this.#watchRoot();
    const entries = await orNothing(readdir(dir));
    if (!entries) {
      this.#tellRoot(
        `${dir} does not exist (yet). It is looked for until it does; create it, or correct \`watch\` in the config.`,
      );
      this.#nextFullMs = this.#dueMs = startMs + Math.min(rescanMs, MISSING_MS_MAX);
      return;
    }
    this.#rootTold = undefined;
    const steps = entries
      .flatMap((entry) => ({ entry, step: layout.stepOf(entry) ?? Number.NaN }))
      .filter(({ entry, step }) => !Number.isNaN(step) && (full || !this.#sights.get(entry)?.done))
      .sort((a, b) => a.step - b.step);
    this.#forgetAllBut(new Set(entries));
    for (let i = 0; i < steps.length && !signal.aborted; i += STATS_AT_ONCE) {
      const batch = steps.slice(i, i + STATS_AT_ONCE);
      const stamps = await Promise.all(
        batch.map(({ entry }) => stampsOf(layout.adapterDir(join(dir, entry))).catch(() => undefined)),
      );
      for (const [index, { entry, step }] of batch.entries()) {
        const stamp = stamps[index];
        if (stamp && !signal.aborted) await this.#look(entry, step, stamp);
      }
    }
  }

  async #look(entry: string, step: number, stamps: Awaited<ReturnType<typeof stampsOf>>): Promise<void> {
    const { layout, settleMs, rescanMs, isKnown, onFound } = this.#options;
    const sight = this.#sightOf(entry, stamps.signature);
    const nowMs = performance.now();
    if (sight.done || nowMs < sight.notBeforeMs) return;
    const stepDir = join(this.#options.dir, entry);
    const found: Found = { step, dir: layout.adapterDir(stepDir), signature: stamps.signature };
    try {
      if (!isKnown(found)) {
        const missing = await this.#missing(found, stepDir, { sinceMs: sight.sinceMs, newestNs: stamps.newestNs });
        if (missing !== undefined) {
          this.#watchPath(stepDir);
          const stalled = nowMs - sight.sinceMs >= settleMs + rescanMs;
          if (stalled) this.#tell(sight, `${stepDir} is still incomplete: ${missing}`);
          return;
        }
        await onFound(found);
      }
      sight.done = true;
      this.#unwatch(stepDir);
    } catch (error) {
      if (this.#options.signal.aborted) return;
      sight.notBeforeMs = nowMs + rescanMs / 2;
      this.#tell(sight, `${stepDir} was not taken: ${messageOf(error)}`);
    }
  }

  /** Why the step is not complete, or undefined when it is. */
  async #missing(
    found: Found,
    stepDir: string,
    since: { sinceMs: number; newestNs: bigint | undefined },
  ): Promise<string | undefined> {
    const { layout, settleMs } = this.#options;
    const marker = await layout.marker(stepDir);
    if (marker.kind === 'unfinished') return marker.about;
    // A marker older than the files is of the step's former revision, which is being written again.
    const finished = marker.kind === 'finished' && (since.newestNs === undefined || marker.atNs >= since.newestNs);
    if (!finished) {
      const settledMs = since.sinceMs + settleMs;
      if (performance.now() < settledMs) {
        this.#dueMs = Math.min(this.#dueMs, settledMs);
        return 'its files were written a moment ago.';
      }
    }
    const inspection = await inspect(found.dir);
    if (inspection.kind === 'incomplete') return inspection.missing;
    return inspection.signature === found.signature ? undefined : 'its files were written a moment ago.';
  }

  #sightOf(entry: string, signature: Signature): Sight {
    let sight = this.#sights.get(entry);
    if (sight?.signature !== signature) {
      sight = { signature, sinceMs: performance.now(), done: false, notBeforeMs: 0, told: undefined };
      this.#sights.set(entry, sight);
    }
    return sight;
  }

  #forgetAllBut(entries: ReadonlySet<string>): void {
    for (const entry of this.#sights.keys()) {
      if (entries.has(entry)) continue;
      this.#sights.delete(entry);
      this.#unwatch(join(this.#options.dir, entry));
    }
  }

  /** A directory that was removed and made again has another inode: the old watch would hear nothing of it. */
  async #watchRoot(): Promise<void> {
    const { dir } = this.#options;
    const root = await statOrNothing(dir);
    const identity = root && `${root.dev}:${root.ino}`;
    if (identity !== this.#rootIdentity) this.#unwatch(dir);
    this.#rootIdentity = identity;
    if (root) this.#watchPath(dir);
  }

  #watchPath(path: string): void {
    if (this.#watchers.has(path) || this.#watchers.size >= WATCHERS_MAX || this.#options.signal.aborted) return;
    try {
      const watcher = watch(path, () => this.#hear());
      // Not every file system has events, and their number is limited: the rescan goes on without.
      watcher.on('error', () => this.#unwatch(path));
      this.#watchers.set(path, watcher);
      this.#hear(); // what happened before the watch was set
    } catch {
      // As above.
    }
  }

  #unwatch(path: string): void {
    this.#watchers.get(path)?.close();
    this.#watchers.delete(path);
  }

  #hear(): void {
    this.#dueMs = Math.min(this.#dueMs, performance.now() + COALESCE_MS);
    this.#wake();
  }

  /** Until `#dueMs`, which events may bring nearer meanwhile. */
  async #sleep(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      const waitMs = this.#dueMs - performance.now();
      if (waitMs <= 0) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.ceil(waitMs));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #tell(sight: Sight, about: string): void {
    if (sight.told === about) return;
    sight.told = about;
    this.#options.onProblem(about);
  }

  #tellRoot(about: string): void {
    if (this.#rootTold === about) return;
    this.#rootTold = about;
    this.#options.onProblem(about);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
