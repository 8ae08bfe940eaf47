// Where fetched files lie until the store has them: `<data>/fetched/<key>/`, one directory per content, so that what broke off is found
// again by whoever asks for the same, also after a restart. What nobody came back for goes.
import { hash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAborted } from './failures.ts';
import type { RemoteFile } from './listing.ts';

/** Somebody who comes back does so the same day. */
export const KEPT_MS = 24 * 3_600_000;
/** Of those that nobody fetches now: as many as are fetched at once. */
export const KEPT_MAX = 8;

/** A directory that one fetch has to itself. */
export interface Held {
  readonly dir: string;
  /** Lets go of it: what is there stays for who asks again, or is removed. */
  readonly release: (fate: 'keep' | 'drop') => Promise<void>;
}

export class Staging {
  readonly #dir: string;
  readonly #nowMs: () => number;
  /** Directory -> settled when its fetch lets go of it, or it is gone. */
  readonly #held = new Map<string, Promise<void>>();

  constructor(dataDir: string, nowMs: () => number) {
    this.#dir = stagingDir(dataDir);
    this.#nowMs = nowMs;
  }

  /** The directory for exactly these files, with what is there of them. Waits while another fetch has it: two words may mean one content. */
  async take(uri: string, files: readonly RemoteFile[], signal: AbortSignal): Promise<Held> {
    const content = files.map(({ path, size, etag, checksum }) => [
      path,
      size ?? null,
      etag ?? null,
      checksum?.hex ?? null,
    ]);
    const dir = join(this.#dir, hash('sha256', JSON.stringify([uri, content])));
    for (let held = this.#held.get(dir); held !== undefined; held = this.#held.get(dir))
      await unlessAborted(held, signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(dir, promise);
    const release = async (fate: 'keep' | 'drop') => {
      if (fate === 'drop') await rm(dir, { recursive: true, force: true }).catch(() => {}); // the next sweep's business
      this.#held.delete(dir);
      resolve();
    };
    try {
      await this.#make(dir);
      const now = this.#nowMs() / 1000;
      await utimes(dir, now, now);
      return { dir, release };
    } catch (error) {
      await release('drop');
      throw error;
    }
  }

  /** Not `recursive`: a `data` that is gone is not made anew for it. */
  async #make(dir: string): Promise<void> {
    for (const wanted of [this.#dir, dir])
      await mkdir(wanted).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
  }

  /** Removes what was left behind too long ago, and all but the last of the rest. Never rejects. */
  async sweep(): Promise<void> {
    const left: { dir: string; atMs: number }[] = [];
    for (const entry of await readdir(this.#dir).catch(() => [])) {
      const dir = join(this.#dir, entry);
      const found = await stat(dir).catch(() => undefined);
      if (found !== undefined) left.push({ dir, atMs: found.mtimeMs });
    }
    const oldest = this.#nowMs() - KEPT_MS;
    const idle = left.filter(({ dir }) => !this.#held.has(dir)).sort((a, b) => b.atMs - a.atMs);
    for (const [rank, { dir, atMs }] of idle.entries())
      if ((rank >= KEPT_MAX || atMs < oldest) && !this.#held.has(dir)) await this.#remove(dir);
  }

  /** Who takes it meanwhile waits. */
  async #remove(dir: string): Promise<void> {
    const gone = rm(dir, { recursive: true, force: true }).catch(() => {});
    this.#held.set(dir, gone);
    await gone;
    this.#held.delete(dir);
  }
}

export const stagingDir = (dataDir: string): string => join(dataDir, 'fetched');
