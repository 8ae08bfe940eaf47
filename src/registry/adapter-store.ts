// The gateway's own copies of adapters, one directory per content: `<dir>/<digest>/`. Engines read from here and nowhere else,
// since a trainer rotates its directories away and rewrites files in place. Reflinked or copied, never hardlinked.
// A directory appears by one rename, after its files are on the disk; what is there is whole and never changes.
import { createHash, randomUUID } from 'node:crypto';
import { chmod, constants, copyFile, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { as, type Digest } from '../domain.ts';
import { StepgateError } from '../errors.ts';
import { ADAPTER_FILES, hasCode, orNothing, type Signature, stampsOf, statOrNothing } from './inspect.ts';
import type { Roots } from './roots.ts';

const TEMPORARY = '.taking-';
/** Small enough that hashing one piece does not hold up a request by more than a fraction of a millisecond. */
const HASH_PIECE_BYTES = 256 * 1024;
// World-readable: an engine may run as another user. Read-only: nothing may change what a digest stands for.
const FILE_MODE = 0o444;
const DIRECTORY_MODE = 0o755;

export interface Taken {
  readonly digest: Digest;
  readonly bytes: number;
}

export class AdapterStore {
  readonly #dir: string;
  readonly #roots: Roots;

  private constructor(dir: string, roots: Roots) {
    this.#dir = dir;
    this.#roots = roots;
  }

  /** Removes what a crashed run left half-taken; so one process at a time may own `dir`. */
  static async open(dir: string, roots: Roots): Promise<AdapterStore> {
    await mkdir(dir, { recursive: true });
    await chmod(dir, DIRECTORY_MODE);
    for (const entry of await readdir(dir)) {
      if (entry.startsWith(TEMPORARY)) await rm(join(dir, entry), { recursive: true, force: true });
    }
    return new AdapterStore(dir, roots);
  }

  pathOf(digest: Digest): string {
    return join(this.#dir, digest);
  }

  /** The digests of everything that is in the store. */
  async contents(): Promise<ReadonlySet<string>> {
    return new Set((await readdir(this.#dir)).filter((entry) => !entry.startsWith(TEMPORARY)));
  }

  /** Copies the adapter in `source` and returns when the copy is on the disk. undefined: the files are not, or no longer,
   *  those of `signature`; look again. Errors: path_not_allowed, storage_full, checkpoint_invalid (unreadable). */
  async take(source: string, signature: Signature): Promise<Taken | undefined> {
    const temporary = join(this.#dir, TEMPORARY + randomUUID());
    try {
      await mkdir(temporary, { recursive: true });
      for (const name of ADAPTER_FILES) {
        const real = await this.#roots.admit(join(source, name));
        if (real === undefined) return undefined;
        await copyFile(real, join(temporary, name), constants.COPYFILE_FICLONE);
        await chmod(join(temporary, name), 0o644); // the source's mode came along
      }
      if ((await stampsOf(source)).signature !== signature) return undefined;
      const taken = await digestOf(temporary);
      await settle(temporary);
      await this.#publish(temporary, taken.digest);
      return taken;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw explain(error, source);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async #publish(temporary: string, digest: Digest): Promise<void> {
    const final = this.pathOf(digest);
    if (await this.#isWhole(final, temporary)) return;
    await orNothing(rename(final, `${temporary}-damaged`)); // somebody removed or cut its files by hand
    try {
      await rename(temporary, final);
    } catch (error) {
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error; // else the same content was taken twice at once
    }
    await rm(`${temporary}-damaged`, { recursive: true, force: true });
    await synchronise(this.#dir);
  }

  async #isWhole(final: string, model: string): Promise<boolean> {
    for (const name of ADAPTER_FILES) {
      const [kept, fresh] = await Promise.all([statOrNothing(join(final, name)), statOrNothing(join(model, name))]);
      if (kept?.size !== fresh?.size) return false;
    }
    return true;
  }
}

/** SHA-256 over each file's name, length and bytes, in the order of their names. */
async function digestOf(dir: string): Promise<Taken> {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(HASH_PIECE_BYTES);
  let bytes = 0;
  for (const name of ADAPTER_FILES.toSorted()) {
    const file = await open(join(dir, name), constants.O_RDONLY);
    try {
      const { size } = await file.stat();
      hash.update(`${name}\0${size}\0`);
      for (;;) {
        const { bytesRead } = await file.read(piece, 0, piece.length, null);
        if (bytesRead === 0) break;
        hash.update(piece.subarray(0, bytesRead));
      }
      bytes += size;
    } finally {
      await file.close();
    }
  }
  return { digest: as<Digest>(hash.digest('hex')), bytes };
}

async function settle(dir: string): Promise<void> {
  for (const name of ADAPTER_FILES) {
    await synchronise(join(dir, name));
    await chmod(join(dir, name), FILE_MODE);
  }
  await chmod(dir, DIRECTORY_MODE);
  await synchronise(dir);
}

async function synchronise(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function explain(error: unknown, source: string): unknown {
  if (hasCode(error, 'ENOSPC', 'EDQUOT')) {
    return new StepgateError(
      'storage_full',
      `The disk under \`data\` is full: ${source} was not taken. Free space and try again.`,
      {
        cause: error,
      },
    );
  }
  if (hasCode(error, 'EACCES', 'EPERM')) {
    return new StepgateError(
      'checkpoint_invalid',
      `The gateway's user may not read the files in ${source}. Make them readable.`,
      {
        param: 'path',
        cause: error,
      },
    );
  }
  return error;
}
