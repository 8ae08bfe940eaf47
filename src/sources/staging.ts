// Where fetched files lie until the store has them: `<data>/fetched/<key>/`, one directory per content, so that what broke off is found
// again by whoever asks for the same, also after a restart. What nobody came back for goes.
import { hash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAborted } from './failures.ts';
import type { RemoteFile } from './listing.ts';

/** Somebody who comes back does so the same day. */
export const KEPT_MS = 24 * 3_600_000;

/** A directory that one fetch has to itself. */
export interface Held {
  readonly dir: string;
  /** Lets go of it: what is there stays for who asks again, or is removed. */
  readonly release: (fate: 'keep' | 'drop') => Promise<void>;
}

export class Staging {
  readonly #dir: string;
  readonly #nowMs: () => number;
  /** Directory -> settled when its fetch lets go of it. */
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

  /** Removes what was left behind too long ago. Never rejects. */
  async sweep(): Promise<void> {
    for (const entry of await readdir(this.#dir).catch(() => [])) {
      const dir = join(this.#dir, entry);
      const found = await stat(dir).catch(() => undefined);
      if (found === undefined || this.#held.has(dir) || this.#nowMs() - found.mtimeMs <= KEPT_MS) continue;
      await rm(dir, { recursive: true, force: true }).catch(() => {});
    }
  }
}

export const stagingDir = (dataDir: string): string => join(dataDir, 'fetched');
