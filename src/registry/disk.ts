// Files of the store as the disk sees them: made durable, digested, readable by others. It knows no checkpoints and no rows.
// Questions to the store's own directory are synchronous: two microseconds, where a turn of the thread pool takes forty. What changes it
// never is, small as it seems: while others sync, the file system's journal lets it wait, and every request with it (delay of the event
// loop with 8 at once, p99: 10 to 16 ms against 6).
import { createHash, type Hash } from 'node:crypto';
import { closeSync, constants, fstatSync, fsync, open, openSync, read, statSync, write } from 'node:fs';
import { chmod, copyFile, mkdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { as, type Digest } from '../domain.ts';
import { ADAPTER_FILES } from './originals.ts';

// World-readable: an engine may run as another user. Read-only: nothing may change what a digest stands for.
export const FILE_MODE = 0o444;
export const DIRECTORY_MODE = 0o755;
const MODE_BITS = 0o777;
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

/** A file whose bytes are in memory, or can be read from a descriptor's position. */
export type ToDigest = { readonly name: string; readonly size: number } & (
  | { readonly bytes: Buffer }
  | { readonly descriptor: number }
);

/** SHA-256 over each file's name, length and bytes, in the order given. */
export async function digestOf(files: readonly ToDigest[]): Promise<Digested> {
  const hash = createHash('sha256');
  let bytes = 0;
  for (const file of files) {
    hash.update(`${file.name}\0${file.size}\0`);
    if ('bytes' in file) {
      hash.update(file.bytes);
      bytes += file.bytes.length;
    } else {
      bytes += await hashPieces(hash, file.descriptor, file.size);
    }
  }
  return { digest: as<Digest>(hash.digest('hex')), bytes };
}

/** Returns the bytes that were read. */
async function hashPieces(hash: Hash, descriptor: number, size: number): Promise<number> {
  // One byte more than a small file has: its end is seen in the first read.
  const piece = Buffer.allocUnsafe(Math.min(HASH_PIECE_BYTES, size + 1));
  for (let done = 0; ; ) {
    const { bytesRead } = await readPiece(descriptor, piece, 0, piece.length, null);
    hash.update(piece.subarray(0, bytesRead));
    done += bytesRead;
    if (bytesRead === 0 || (done >= size && bytesRead < piece.length)) return done;
  }
}

/** The digest of what lies in `dir`. Rejects with the file system's error where a file is missing. */
export async function digestOfDirectory(dir: string): Promise<Digested> {
  const descriptors: number[] = [];
  try {
    const files = DIGEST_ORDER.map((name) => {
      const descriptor = openSync(join(dir, name), constants.O_RDONLY);
      descriptors.push(descriptor);
      return { name, descriptor, size: fstatSync(descriptor).size };
    });
    return await digestOf(files);
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}

const readPiece = promisify(read);
const writePiece = promisify(write);
const openDescriptor = promisify(open);
/** Resolves when what was written to the descriptor's file is on the disk. */
export const synced = promisify(fsync);

export async function synchronise(path: string): Promise<void> {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    await synced(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, DIRECTORY_MODE);
  if ((statSync(path).mode & MODE_BITS) !== DIRECTORY_MODE) await chmod(path, DIRECTORY_MODE); // the umask
}

/** A new file of these bytes, written but not synced. `keep` is given its descriptor, to close it. */
export async function createFile(path: string, bytes: Buffer, keep: (descriptor: number) => void): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  const descriptor = await openDescriptor(path, flags, FILE_MODE);
  keep(descriptor);
  if ((fstatSync(descriptor).mode & MODE_BITS) !== FILE_MODE) await chmod(path, FILE_MODE); // the umask
  for (let done = 0; done < bytes.length; )
    done += (await writePiece(descriptor, bytes, done, bytes.length - done, done)).bytesWritten;
}

/** As `createFile`, of what lies at `source`: reflinked where the file system can, else copied. */
export async function cloneFile(source: string, path: string, keep: (descriptor: number) => void): Promise<void> {
  await copyFile(source, path, constants.COPYFILE_FICLONE);
  await chmod(path, FILE_MODE); // the source's mode came along
  keep(openSync(path, constants.O_RDONLY));
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
