// Files of the store as the disk sees them: made durable, digested, readable by others. It knows no checkpoints and no rows.
import { createHash, type Hash } from 'node:crypto';
import { chmod, constants, type FileHandle, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { as, type Digest } from '../domain.ts';
import { ADAPTER_FILES } from './inspect.ts';

// World-readable: an engine may run as another user. Read-only: nothing may change what a digest stands for.
export const FILE_MODE = 0o444;
export const DIRECTORY_MODE = 0o755;
/** Search permission for everyone: without it on each directory above, the modes below it help nobody. */
const OTHERS_MAY_PASS = 0o001;

/** Small enough that hashing one piece does not hold up a request by more than a fraction of a millisecond. */
const HASH_PIECE_BYTES = 256 * 1024;

/** The store's files in the order in which they are digested. */
export const DIGEST_ORDER: readonly string[] = ADAPTER_FILES.toSorted();

export interface Digested {
  readonly digest: Digest;
  readonly bytes: number;
}

export interface ToDigest {
  readonly name: string;
  readonly file: FileHandle;
  readonly size: number;
}

/** SHA-256 over each file's name, length and bytes, in the order given. Reads from each handle's position. */
export async function digestOf(files: readonly ToDigest[]): Promise<Digested> {
  const hash = createHash('sha256');
  let bytes = 0;
  for (const { name, file, size } of files) {
    hash.update(`${name}\0${size}\0`);
    bytes += await hashPieces(hash, file, size);
  }
  return { digest: as<Digest>(hash.digest('hex')), bytes };
}

/** Returns the bytes that were read. */
async function hashPieces(hash: Hash, file: FileHandle, size: number): Promise<number> {
  // One byte more than a small file has: its end is seen in the first read.
  const piece = Buffer.allocUnsafe(Math.min(HASH_PIECE_BYTES, size + 1));
  for (let done = 0; ; ) {
    const { bytesRead } = await file.read(piece, 0, piece.length, null);
    hash.update(piece.subarray(0, bytesRead));
    done += bytesRead;
    if (bytesRead === 0 || (done >= size && bytesRead < piece.length)) return done;
  }
}

/** The digest of what lies in `dir`. Rejects with the file system's error where a file is missing. */
export async function digestOfDirectory(dir: string): Promise<Digested> {
  const files: ToDigest[] = [];
  try {
    for (const name of DIGEST_ORDER) {
      const file = await open(join(dir, name), constants.O_RDONLY);
      files.push({ name, file, size: 0 });
      files[files.length - 1] = { name, file, size: (await file.stat()).size };
    }
    return await digestOf(files);
  } finally {
    await Promise.all(files.map(({ file }) => file.close()));
  }
}

export async function synchronise(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs of one directory: callers that come while one is under way share the next. */
export class DirectorySync {
  readonly #dir: string;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Resolves when what was done in the directory before this call is on the disk. */
  settle(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  #start(): Promise<void> {
    const running = synchronise(this.#dir).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}

/** Makes the directory and those above it that are missing, each passable for engines of another user, whatever the umask. */
export async function makeOpenDirectory(dir: string): Promise<void> {
  const first = await mkdir(dir, { recursive: true });
  if (first === undefined) return;
  for (let path = resolve(dir); path.length >= first.length; path = dirname(path)) await chmod(path, DIRECTORY_MODE);
}

/** The topmost directory on the way to `dir`, itself included, that other users may not pass; undefined: they may pass all. */
export async function barrierTo(dir: string): Promise<string | undefined> {
  let barrier: string | undefined;
  for (let path = resolve(dir); ; path = dirname(path)) {
    if (((await stat(path)).mode & OTHERS_MAY_PASS) === 0) barrier = path;
    if (path === dirname(path)) return barrier;
  }
}
