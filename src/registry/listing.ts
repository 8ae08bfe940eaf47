// Which entries of a watched directory are steps, by its layout, and what changed since the last look at it. It decides which layout it is
// where none was given, and tells people when it cannot. It looks at names only, never into a step.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { orNothing, statOrNothing } from './inspect.ts';
import type { Layout } from './layouts/layout.ts';
import { LAYOUTS, recognise } from './layouts/layouts.ts';
import type { Watches } from './watches.ts';

/** The entry that stands for the watched directory, where that is a step itself. */
export const WATCHED_ITSELF = '.';

export interface ListingOptions {
  readonly dir: string;
  readonly layout: Layout | 'auto';
  readonly onProblem: (about: string) => void;
}

/** Names of steps' directories. */
export interface Change {
  /** Whether the watched directory is there and readable; it was told when it is not. */
  readonly there: boolean;
  /** Ascending by step. */
  readonly fresh: readonly string[];
  readonly gone: readonly string[];
}

export class Listing {
  readonly #options: ListingOptions;
  readonly #watches: Watches;
  #layout: Layout | undefined;
  #base: string;
  /** Of the watched directory: one that was removed and made again is another. */
  #identity: string | undefined;
  readonly #steps = new Map<string, number>();
  readonly #entries = new Map<number, string>();
  #ascending: readonly string[] = [];
  #told: string | undefined;
  #clashTold = false;
  #unknownLooks = 0;

  constructor(options: ListingOptions, watches: Watches) {
    this.#options = options;
    this.#watches = watches;
    this.#layout = options.layout === 'auto' ? undefined : options.layout;
    this.#base = options.dir;
  }

  /** Undefined until `auto` has decided. */
  get layout(): Layout | undefined {
    return this.#layout;
  }

  /** Where the steps lie. */
  get base(): string {
    return this.#base;
  }

  stepOf(entry: string): number | undefined {
    return this.#steps.get(entry);
  }

  pathOf(entry: string): string {
    return join(this.#base, entry);
  }

  newest(count: number): readonly string[] {
    return this.#ascending.slice(-count);
  }

  /** Never rejects. */
  async read(): Promise<Change> {
    try {
      return await this.#read();
    } catch (error) {
      this.#tell(`${this.#options.dir} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return { there: false, fresh: [], gone: [] };
    }
  }

  async #read(): Promise<Change> {
    const { dir } = this.#options;
    const root = await statOrNothing(dir);
    const identity = root && `${root.dev}:${root.ino}`;
    if (identity !== this.#identity) this.#watches.drop(dir);
    this.#identity = identity;
    this.#watches.add(dir);
    const top = await orNothing(readdir(dir));
    if (!top) {
      this.#tell(
        `${dir} does not exist (yet). It is looked for until it does; create it, or correct \`watch\` in the config.`,
      );
      return { there: false, fresh: [], gone: this.#clear() };
    }
    const layout = await this.#choose(top);
    if (!layout) return { there: true, fresh: [], gone: [] };
    this.#told = undefined;
    const { base, entries } = await this.#below(layout, top);
    const gone = base === this.#base && layout === this.#layout ? [] : this.#moveTo(base);
    this.#base = base;
    this.#layout = layout;
    return this.#compare(layout.stepOf(WATCHED_ITSELF) === undefined ? entries : [WATCHED_ITSELF], gone);
  }

  /** What `auto` has decided stays, except that a plain adapter may turn out to be the last word of a trainer that writes steps. */
  async #choose(entries: readonly string[]): Promise<Layout | undefined> {
    const { dir, layout } = this.#options;
    if (layout !== 'auto') return layout;
    if (this.#layout && this.#layout !== LAYOUTS.adapter) return this.#layout;
    const found = await recognise(dir, entries);
    if (found.kind === 'known') return found.layout;
    if (this.#layout) return this.#layout;
    const names = Object.keys(LAYOUTS).filter((name) => name !== 'auto');
    const fix = `Set \`layout\` of this model in the config (${names.join(', ')})`;
    if (found.kind === 'mixed')
      this.#tell(`${dir} looks like more than one layout: ${found.names.join(', ')}. ${fix}.`);
    // Trainers make other things first: it is too early to tell at the first look.
    else if (entries.length > 0 && this.#unknownLooks++ > 0)
      this.#tell(
        `${dir} has no checkpoints that are recognised (yet): ${entries.slice(0, 5).join(', ')}${entries.length > 5 ? ', ...' : ''}. ${fix}, or correct \`watch\`, if that stays so.`,
      );
    return undefined;
  }

  async #below(layout: Layout, top: readonly string[]): Promise<{ base: string; entries: readonly string[] }> {
    const { dir } = this.#options;
    for (const below of layout.below) {
      if (below === '') break;
      const base = join(dir, below);
      this.#watches.add(base);
      const entries = await orNothing(readdir(base));
      if (entries) return { base, entries };
    }
    return { base: dir, entries: top };
  }

  #compare(entries: readonly string[], gone: string[]): Change {
    const present = this.#steps.size > 0 ? new Set(entries) : undefined;
    for (const entry of this.#steps.keys()) if (!present?.has(entry)) gone.push(entry);
    for (const entry of gone) this.#remove(entry);
    const fresh = entries.filter((entry) => !this.#steps.has(entry) && this.#add(entry, gone));
    if (fresh.length + gone.length > 0) {
      this.#ascending = [...this.#steps].sort((a, b) => a[1] - b[1]).map(([entry]) => entry);
    }
    const still = fresh.filter((entry) => this.#steps.has(entry));
    return { there: true, fresh: still.sort((a, b) => (this.#steps.get(a) ?? 0) - (this.#steps.get(b) ?? 0)), gone };
  }

  /** Of two directories of one step the one whose name sorts last counts (`global_step5_hf` rather than `global_step5`). */
  #add(entry: string, gone: string[]): boolean {
    const step = this.#layout?.stepOf(entry);
    if (step === undefined) return false;
    const other = this.#entries.get(step);
    if (other !== undefined) {
      const [loser, winner] = other < entry ? [other, entry] : [entry, other];
      this.#tellClash(loser, winner);
      if (winner === other) return false;
      this.#remove(other);
      gone.push(other);
    }
    this.#steps.set(entry, step);
    this.#entries.set(step, entry);
    return true;
  }

  #remove(entry: string): void {
    const step = this.#steps.get(entry);
    this.#steps.delete(entry);
    if (step !== undefined && this.#entries.get(step) === entry) this.#entries.delete(step);
  }

  #moveTo(base: string): string[] {
    const { dir } = this.#options;
    this.#watches.drop(dir);
    for (const path of [dir, base]) this.#watches.add(path);
    return this.#clear();
  }

  #clear(): string[] {
    const gone = [...this.#steps.keys()];
    this.#steps.clear();
    this.#entries.clear();
    this.#ascending = [];
    return gone;
  }

  #tellClash(loser: string, winner: string): void {
    if (this.#clashTold) return;
    this.#clashTold = true;
    this.#options.onProblem(
      `${this.pathOf(loser)} and ${winner} beside it are the same step: ${winner} counts, here and wherever there are two. Rename or remove what is not to be found.`,
    );
  }

  #tell(about: string): void {
    if (this.#told === about) return;
    this.#told = about;
    this.#options.onProblem(about);
  }
}
