// Watches one directory that a trainer fills, and says when a checkpoint in it is complete, or was written again.
// Three things make it look at a step: an event, its appearance in a listing, and a slow round over all of them that finds the same without
// events. Looking and taking go on side by side: a backlog that is being taken does not delay what the trainer writes now.
// It reads; it neither copies nor remembers across restarts (`isKnown` is asked instead).
import { relative, sep } from 'node:path';
import type { Details } from '../domain.ts';
import { Agenda } from './agenda.ts';
import { Alarm } from './alarm.ts';
import { Backlog } from './backlog.ts';
import { filesOf, type Missing, missingIn, wayTo } from './completeness.ts';
import { type Signature, stampsOf } from './inspect.ts';
import type { Layout } from './layouts/layout.ts';
import { Listing, WATCHED_ITSELF } from './listing.ts';
import { type FileEvent, Watches } from './watches.ts';

export interface Found {
  readonly step: number;
  /** The directory of adapter_config.json. */
  readonly dir: string;
  /** The step's own directory; the same, or one above `dir`. */
  readonly stepDir: string;
  readonly signature: Signature;
  /** What the trainer's files say of the step, read when it is asked for. Never rejects. */
  readonly details: () => Promise<Details>;
}

export interface WatchOptions {
  readonly dir: string;
  readonly layout: Layout | 'auto';
  /** How long files without the trainer's marker must not have moved. */
  readonly settleMs: number;
  /** How often the directory is listed whatever the file system has announced, and a slice of its known steps looked at again. */
  readonly rescanMs: number;
  /** Files that need not be found again; asked before any of them is read. */
  readonly isKnown: (found: Found) => boolean;
  /** Called for several at once, never twice at once for the same files; the newest and the oldest first. A rejection is a problem,
   *  and tried again at a rescan. */
  readonly onFound: (found: Found) => Promise<void>;
  /** Sentences for people; the same one is not repeated for the same files. */
  readonly onProblem: (about: string) => void;
  readonly signal: AbortSignal;
}

/** Resolves after `signal` aborted, once nothing is open and nothing is looked at or taken. Never rejects. */
export function watchDirectory(options: WatchOptions): Promise<void> {
  return new DirectoryWatch(options).run();
}

/** One step's directory, with one set of files. */
interface Sight {
  readonly entry: string;
  readonly signature: Signature;
  /** When these files were first seen, monotonic ms. */
  readonly sinceMs: number;
  /** Open: not complete yet, or taking it failed. */
  state: 'open' | 'queued' | 'taking' | 'done';
  /** An open one is looked at then, if no event comes first. */
  dueMs: number;
  /** Not before that, events or not: its last attempt failed. */
  notBeforeMs: number;
  told: string | undefined;
}

/** Many writes make one look. */
const COALESCE_MS = 25;
/** A directory that does not exist (yet) is looked for this often. */
const MISSING_MS_MAX = 1_000;
/** The steps that a trainer may still write, or write again: these have events, and are looked at in every rescan. */
const NEWEST = 32;
const WATCHES_MAX = 128;
/** Looks at once: enough to keep the thread pool busy, few enough to leave it to others. */
const LOOKS_AT_ONCE = 16;
/** Older steps looked at again, so that one that is rewritten is noticed without events: 10,000 take seven minutes and next to no CPU,
 *  where all of them in every rescan would take 7 % (bench/registry/discovery.ts). */
const LOOKED_AGAIN_PER_S = 25;
/** A step that stays incomplete, or cannot be taken, is looked at ever more seldom. */
const PATIENCE_MS_MAX = 60_000;

class DirectoryWatch {
  readonly #options: WatchOptions;
  readonly #listing: Listing;
  readonly #watches = new Watches(WATCHES_MAX, (event) => this.#onEvent(event));
  readonly #backlog = new Backlog();
  readonly #sights = new Map<string, Sight>();
  readonly #open = new Set<Sight>();
  readonly #agenda = new Agenda();
  #newest: ReadonlySet<string> = new Set();
  /** Where the slow round over all sights is. */
  #round: Iterator<string> = [].values();
  #relist = true;
  #nextRescanMs = 0;
  readonly #alarm = new Alarm();

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#listing = new Listing(options, this.#watches);
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      await this.#turn();
      if (this.#agenda.empty) await this.#alarm.sleep(signal);
    }
    this.#watches.close();
    await this.#backlog.close();
  }

  /** Lists if it is time, then looks at a few: a new step comes between two turns, before thousands of old ones. */
  async #turn(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs >= this.#nextRescanMs) {
      this.#nextRescanMs = nowMs + this.#options.rescanMs;
      this.#relist = true;
      this.#lookAgain();
    }
    this.#alarm.set(this.#nextRescanMs);
    if (this.#relist) {
      this.#relist = false;
      await this.#list();
    }
    for (const sight of this.#open) {
      if (sight.dueMs > nowMs) this.#alarm.by(sight.dueMs);
      else if (!this.#agenda.has(sight.entry)) this.#agenda.announce(sight.entry);
    }
    this.#agenda.announceHeard();
    const batch = this.#agenda.take(LOOKS_AT_ONCE);
    if (!this.#options.signal.aborted) await Promise.all(batch.map((entry) => this.#look(entry)));
  }

  async #list(): Promise<void> {
    const change = await this.#listing.read();
    const lost = change.gone.filter((entry) => this.#forget(entry) === 'queued');
    if (lost.length > 0) {
      const paths = lost.map((entry) => this.#listing.pathOf(entry)).slice(0, 3);
      this.#options.onProblem(
        `${paths.join(', ')}: complete, but removed before they were taken (${lost.length} lost). Let the trainer keep more checkpoints.`,
      );
    }
    for (const entry of change.fresh) this.#agenda.announce(entry);
    if (!change.there) {
      this.#nextRescanMs = performance.now() + Math.min(this.#options.rescanMs, MISSING_MS_MAX);
      this.#alarm.set(this.#nextRescanMs);
    }
    if (change.fresh.length + change.gone.length === 0) return;
    const newest = new Set(this.#listing.newest(NEWEST));
    for (const entry of this.#newest) if (!newest.has(entry)) this.#unwatch(entry);
    this.#newest = newest;
  }

  #lookAgain(): void {
    const slice = Math.max(LOOKS_AT_ONCE, Math.ceil((LOOKED_AGAIN_PER_S * this.#options.rescanMs) / 1000));
    let next = this.#round.next();
    if (next.done) {
      this.#round = this.#sights.keys();
      next = this.#round.next();
    }
    for (let i = 0; i < slice && !next.done; i++) {
      this.#agenda.announce(next.value);
      if (i + 1 < slice) next = this.#round.next();
    }
    for (const entry of this.#newest) this.#agenda.announce(entry);
  }

  async #look(entry: string): Promise<void> {
    const { layout } = this.#listing;
    const step = this.#listing.stepOf(entry);
    if (step === undefined || layout === undefined) return;
    const stepDir = this.#listing.pathOf(entry);
    // Before it is read: what is written from here on is heard.
    if (this.#newest.has(entry)) for (const dir of wayTo(stepDir, layout)) this.#watches.add(dir);
    let sight: Sight | undefined;
    try {
      const files = await filesOf(layout, stepDir);
      sight = this.#sightOf({ entry, signature: files.signature });
      if (sight.state !== 'open' || performance.now() < sight.notBeforeMs || this.#options.signal.aborted) return;
      const { dir, signature } = files;
      const found: Found = { step, dir, stepDir, signature, details: () => layout.details(stepDir, step) };
      if (this.#options.isKnown(found)) return this.#settle(sight, 'done');
      const settledMs = sight.sinceMs + this.#options.settleMs;
      const missing = await missingIn({ layout, stepDir }, files, performance.now() >= settledMs);
      if (missing) return this.#wait(sight, missing);
      this.#settle(sight, 'queued');
      const queued = sight;
      this.#backlog.add({ step, take: () => this.#take(queued, found) });
    } catch (error) {
      this.#fail(sight ?? this.#sightOf({ entry, signature: '' }), error);
    }
  }

  async #take(sight: Sight, found: Found): Promise<void> {
    try {
      if (this.#sights.get(sight.entry) !== sight) return; // removed, or written again: that was told, or is seen to
      sight.state = 'taking';
      if ((await stampsOf(found.dir)).signature === found.signature) {
        await this.#options.onFound(found);
        sight.state = 'done';
      } else {
        sight.state = 'open';
        this.#open.add(sight);
        this.#hear(sight.entry);
      }
    } catch (error) {
      this.#fail(sight, error);
    }
  }

  #wait(sight: Sight, { about, settles }: Missing): void {
    const { settleMs, rescanMs } = this.#options;
    const nowMs = performance.now();
    sight.dueMs = settles
      ? Math.max(sight.sinceMs + settleMs, nowMs + COALESCE_MS)
      : nowMs + this.#patienceMs(sight, rescanMs);
    this.#alarm.by(sight.dueMs);
    if (!settles && nowMs - sight.sinceMs >= settleMs + rescanMs)
      this.#tell(sight, `${this.#listing.pathOf(sight.entry)} is still incomplete: ${about}`);
  }

  #fail(sight: Sight, error: unknown): void {
    if (this.#options.signal.aborted) return;
    sight.state = 'open';
    sight.dueMs = sight.notBeforeMs = performance.now() + this.#patienceMs(sight, this.#options.rescanMs / 2);
    if (this.#sights.get(sight.entry) === sight) this.#open.add(sight);
    this.#tell(sight, `${this.#listing.pathOf(sight.entry)} was not taken: ${messageOf(error)}`);
    this.#alarm.by(sight.dueMs);
  }

  #patienceMs(sight: Sight, atLeastMs: number): number {
    return Math.max(atLeastMs, Math.min(PATIENCE_MS_MAX, (performance.now() - sight.sinceMs) / 2));
  }

  #settle(sight: Sight, state: 'queued' | 'done'): void {
    sight.state = state;
    this.#open.delete(sight);
  }

  #sightOf(seen: Pick<Sight, 'entry' | 'signature'>): Sight {
    const before = this.#sights.get(seen.entry);
    if (before?.signature === seen.signature) return before;
    if (before) this.#open.delete(before);
    const sinceMs = performance.now();
    const sight: Sight = { ...seen, sinceMs, state: 'open', dueMs: 0, notBeforeMs: 0, told: undefined };
    this.#sights.set(seen.entry, sight);
    this.#open.add(sight);
    return sight;
  }

  #forget(entry: string): Sight['state'] | undefined {
    const sight = this.#sights.get(entry);
    this.#agenda.forget(entry);
    this.#unwatch(entry);
    this.#sights.delete(entry);
    if (sight) this.#open.delete(sight);
    return sight?.state;
  }

  #unwatch(entry: string): void {
    if (entry !== WATCHED_ITSELF) this.#watches.drop(this.#listing.pathOf(entry));
  }

  #onEvent({ dir, name, kind }: FileEvent): void {
    const isStep = (entry: string) => this.#listing.stepOf(entry) !== undefined;
    const [entry = ''] = relative(this.#listing.base, dir).split(sep);
    if (isStep(entry)) return this.#hear(entry);
    if (kind === 'rename' || name === undefined) this.#relist = true;
    if (name !== undefined && isStep(name)) return this.#hear(name);
    // A tracker beside the steps, a step that is not listed yet, or nothing of ours.
    for (const sight of this.#open) if (this.#newest.has(sight.entry)) this.#agenda.hear(sight.entry);
    this.#hear(isStep(WATCHED_ITSELF) ? WATCHED_ITSELF : undefined);
  }

  #hear(entry: string | undefined): void {
    if (entry !== undefined) this.#agenda.hear(entry);
    this.#alarm.by(performance.now() + COALESCE_MS);
  }

  #tell(sight: Sight, about: string): void {
    if (sight.told === about) return;
    sight.told = about;
    this.#options.onProblem(about);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
