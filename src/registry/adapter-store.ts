// The gateway's own copies of adapters, one directory per content: `<dir>/<digest>/`. Engines read from here and nowhere else,
// since a trainer rotates its directories away and rewrites files in place. Reflinked or copied, never hardlinked.
// A directory appears by one rename, after its files are on the disk, and goes by one rename; what is there is whole and never changes.
import { randomUUID } from 'node:crypto';
import { closeSync, readdirSync, renameSync, statSync } from 'node:fs';
import { chmod, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError } from '../disk-error.ts';
import type { Digest } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import {
  cloneFile,
  createFile,
  DIGEST_ORDER,
  DIRECTORY_MODE,
  type Digested,
  DirectorySync,
  digestOf,
  makeDirectory,
  makeOpenDirectory,
  synced,
  synchronise,
  type ToDigest,
} from './disk.ts';
import { hasCode, stampsOf } from './inspect.ts';
import {
  ADAPTER_FILES,
  CONFIG_FILE,
  type Original,
  type Originals,
  openOriginals,
  type Signature,
  WEIGHTS_FILE,
} from './originals.ts';
import { handlePath, type Roots } from './roots.ts';
import { StoreBudget } from './store-budget.ts';

/** Names of directories on their way in and out; a crash leaves them behind, and the next start removes them. */
const TAKING = '.taking-';
const REMOVING = '.removing-';
const DIGEST = /^[0-9a-f]{64}$/;

export const isDigest = (name: string): name is Digest => DIGEST.test(name);
export const isLeftover = (name: string): boolean => name.startsWith(TAKING) || name.startsWith(REMOVING);

export type Taken = Digested;

export class AdapterStore {
  readonly #dir: string;
  readonly #roots: Roots;
  readonly #budget: StoreBudget;
  readonly #synced: DirectorySync;
  /** Content that is being taken, by how many: a sweep passes it by until its row is written. */
  readonly #held = new Map<Digest, number>();
  /** Content taken since the sweep under way began, which `needed` cannot know of. */
  readonly #fresh = new Set<Digest>();
  #sweeping: Promise<number> | undefined;

  private constructor(dir: string, roots: Roots, budget: StoreBudget) {
    this.#dir = dir;
    this.#roots = roots;
    this.#budget = budget;
    this.#synced = new DirectorySync(dir);
  }

  /** Removes what a crashed run left behind; so one process at a time may own `dir`. `bytesMax` undefined: as large as the disk. */
  static async open(dir: string, roots: Roots, options: { bytesMax?: number | undefined } = {}): Promise<AdapterStore> {
    await makeOpenDirectory(dir);
    await chmod(dir, DIRECTORY_MODE);
    for (const entry of await readdir(dir))
      if (isLeftover(entry)) await rm(join(dir, entry), { recursive: true, force: true });
    const store = new AdapterStore(dir, roots, new StoreBudget(options.bytesMax));
    store.#measure();
    return store;
  }

  /** Synchronous: at start nothing else waits, and ten thousand directories take a tenth of the time. */
  #measure(): void {
    for (const entry of readdirSync(this.#dir)) {
      if (!isDigest(entry)) continue;
      const stats = DIGEST_ORDER.map((name) => statSync(join(this.#dir, entry, name), { throwIfNoEntry: false }));
      if (stats.every((found) => found?.isFile()))
        this.#budget.keep(
          entry,
          stats.reduce((sum, found) => sum + (found?.size ?? 0), 0),
        );
    }
  }

  /** From now on; what it holds already stays. Undefined: as large as the disk. */
  limit(bytesMax: number | undefined): void {
    this.#budget.bytesMax = bytesMax;
  }

  /** See StoreBudget. */
  promise(bytes: number, source: string): () => void {
    return this.#budget.promise(bytes, source);
  }

  pathOf(digest: Digest): string {
    return join(this.#dir, digest);
  }

  /** The digests of everything that is in the store with all of its files. */
  async contents(): Promise<ReadonlySet<string>> {
    return new Set(this.#budget.contents.keys());
  }

  /** What the kept files' lengths add up to. */
  get bytes(): number {
    return this.#budget.bytes;
  }

  take(source: string, signature: Signature): Promise<Taken | undefined>;
  take<T>(source: string, signature: Signature, commit: (taken: Taken) => Promise<T> | T): Promise<T | undefined>;
  /** Opens the adapter in `source` and takes it as `keep` does. undefined too where its files are not those of `signature`. */
  async take(
    source: string,
    signature: Signature,
    commit: (taken: Taken) => unknown = (taken) => taken,
  ): Promise<unknown> {
    const originals = await this.open(source);
    try {
      return originals?.signature === signature ? await this.keep(originals, commit) : undefined;
    } finally {
      await originals?.close();
    }
  }

  /** The adapter's files in `source`, for `keep`; its caller closes them. undefined: they are not there. Errors: path_not_allowed,
   *  checkpoint_invalid (unreadable). */
  async open(source: string): Promise<Originals | undefined> {
    try {
      return await openOriginals(source, (path) => this.#roots.open(path));
    } catch (error) {
      throw explain(error, source);
    }
  }

  /** Copies an adapter; when the copy is on the disk, `commit` writes down that it is needed: until it has ended no sweep touches the
   *  content. Resolves with commit's answer. undefined: the files were written again meanwhile; look again. Errors: storage_full,
   *  checkpoint_invalid (unreadable), and commit's. */
  async keep<T>(originals: Originals, commit: (taken: Taken) => Promise<T> | T): Promise<T | undefined> {
    const temporary = join(this.#dir, TAKING + randomUUID());
    let taken: Taken | undefined;
    let gone = false;
    try {
      taken = await this.#copy(originals, temporary);
      if (taken === undefined) return undefined;
      gone = await this.#publish(temporary, taken);
    } catch (error) {
      if (taken !== undefined) this.#release(taken.digest);
      if (this.#isOurs(error)) throw diskError(error, `${originals.dir} was not taken`);
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw explain(error, originals.dir);
    } finally {
      // What cannot be removed now is the next start's business.
      if (!gone) await rm(temporary, { recursive: true, force: true }).catch(() => {});
    }
    try {
      return await commit(taken);
    } finally {
      this.#release(taken.digest);
    }
  }

  /** Leaves a whole, durable copy in `temporary`, and its digest held. */
  async #copy(originals: Originals, temporary: string): Promise<Taken | undefined> {
    const { dir, signature, config, weights } = originals;
    const expected = config.size + weights.size;
    const unpromise = this.#budget.promise(expected, dir);
    const descriptors: number[] = [];
    try {
      await makeDirectory(temporary);
      const copies = await all([copyOf(config, CONFIG_FILE), copyOf(weights, WEIGHTS_FILE)]);
      const durable = [...descriptors.map((descriptor) => synced(descriptor)), synchronise(temporary)];
      // While the disk works: the digest, and whether the trainer wrote them again while they were read.
      const [taken, stamps] = await all([digestOf(copies), stampsOf(dir), ...durable]);
      if (taken.bytes !== expected || stamps.signature !== signature) return undefined;
      this.#held.set(taken.digest, (this.#held.get(taken.digest) ?? 0) + 1);
      return taken;
    } finally {
      unpromise();
      for (const descriptor of descriptors) closeSync(descriptor);
    }

    async function copyOf({ whole, opened, size }: Original, name: string): Promise<ToDigest> {
      const path = join(temporary, name);
      let descriptor = -1;
      const keep = (opened: number) => {
        descriptor = opened;
        descriptors.push(opened);
      };
      if (whole === undefined) await cloneFile(handlePath(opened), path, keep);
      else await createFile(path, whole, keep);
      return whole === undefined ? { name, size, descriptor } : { name, size, bytes: whole };
    }
  }

  /** Not the trainer's disk: a full one names no path where it was met in a write. */
  #isOurs(error: unknown): boolean {
    const { path = '' } = error as NodeJS.ErrnoException;
    return path.startsWith(this.#dir) || hasCode(error, 'ENOSPC', 'EDQUOT', 'EROFS');
  }

  /** Returns whether `temporary` itself was put in its place. */
  async #publish(temporary: string, { digest, bytes }: Taken): Promise<boolean> {
    const final = this.pathOf(digest);
    let published = false;
    if (!isWhole(final, temporary)) {
      published = await rename(temporary, final).then(
        () => true,
        (error: unknown) => {
          if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) return false;
          throw error;
        },
      );
      // Somebody cut its files by hand, or the same content was taken twice at once: then they are as good as these.
      if (!published && !isWhole(final, temporary)) {
        const trash = join(this.#dir, REMOVING + randomUUID());
        renameSync(final, trash);
        renameSync(temporary, final);
        published = true;
        await rm(trash, { recursive: true, force: true });
      }
    }
    this.#budget.keep(digest, bytes);
    await this.#synced.settle();
    return published;
  }

  #release(digest: Digest): void {
    const holders = (this.#held.get(digest) ?? 1) - 1;
    if (holders > 0) this.#held.set(digest, holders);
    else this.#held.delete(digest);
    if (this.#sweeping !== undefined) this.#fresh.add(digest);
  }

  /** Removes every content but `needed`, which is to be true at the time of the call, and what is taken meanwhile. Resolves with the
   *  bytes freed. One at a time: a call during a sweep joins it. */
  sweep(needed: ReadonlySet<string>): Promise<number> {
    this.#sweeping ??= this.#sweep(needed).finally(() => {
      this.#sweeping = undefined;
      this.#fresh.clear();
    });
    return this.#sweeping;
  }

  async #sweep(needed: ReadonlySet<string>): Promise<number> {
    let freed = 0;
    for (const [digest, bytes] of [...this.#budget.contents]) {
      if (needed.has(digest) || this.#held.has(digest) || this.#fresh.has(digest)) continue;
      const trash = join(this.#dir, REMOVING + randomUUID());
      // Synchronous: no take may look at it between the question above and its going.
      renameSync(this.pathOf(digest), trash);
      this.#budget.drop(digest);
      freed += bytes;
      await rm(trash, { recursive: true, force: true });
    }
    return freed;
  }
}

function isWhole(final: string, model: string): boolean {
  const sizeIn = (dir: string, name: string) => statSync(join(dir, name), { throwIfNoEntry: false })?.size;
  return ADAPTER_FILES.every((name) => {
    const size = sizeIn(final, name);
    return size !== undefined && size === sizeIn(model, name);
  });
}

/** As Promise.all, but nothing is left running when it rejects: handles and directories can be cleaned up. */
async function all<const T extends readonly unknown[]>(
  promises: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

function explain(error: unknown, source: string): unknown {
  if (hasCode(error, 'EACCES', 'EPERM')) {
    return new StepgateError(
      'checkpoint_invalid',
      `The gateway's user may not read the files in ${source}. Make them readable.`,
      { param: 'path', cause: error },
    );
  }
  return error;
}
