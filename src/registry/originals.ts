// An adapter's two files, each opened once: what is judged, searched, digested and copied is what was opened here, whatever is put in
// their place meanwhile. Small files are read whole and let go of; of larger ones the beginning is held. It does not judge.
import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

export const CONFIG_FILE = 'adapter_config.json';
/** The one file of weights that engines read beside the config. */
export const WEIGHTS_FILE = 'adapter_model.safetensors';
/** The only files that are ever taken into the store. */
export const ADAPTER_FILES = [CONFIG_FILE, WEIGHTS_FILE] as const;

/** Size, mtime (ns) and inode of the adapter's files: another value means that they were written again. */
export type Signature = string;

/** One file's part of a signature. */
export const stampOf = ({ size, mtimeNs, ino }: BigIntStats): string => `${size}:${mtimeNs}:${ino}`;

/** A regular file. */
export interface Opened {
  readonly file: FileHandle;
  /** Its real path when it was opened, where that was asked. */
  readonly path: string;
  readonly size: number;
  readonly stamp: string;
}

/** Resolves with undefined where no regular file is. */
export type Opener = (path: string) => Promise<Opened | undefined>;

/** Read at once. A step of a small model is no larger, nor is the header of a large one. */
const HEAD_BYTES_MAX = 256 * 1024;

export class Original {
  readonly opened: Opened;
  readonly #head: Buffer;
  #closing: Promise<void> | undefined;

  private constructor(opened: Opened, head: Buffer) {
    this.opened = opened;
    this.#head = head;
  }

  /** Closes the file where it cannot be read. */
  static async read(opened: Opened): Promise<Original> {
    try {
      const head = Buffer.allocUnsafeSlow(Math.min(opened.size, HEAD_BYTES_MAX));
      const original = new Original(opened, head.subarray(0, await fill(opened.file, head, 0)));
      if (original.whole !== undefined) original.close().catch(() => {}); // whoever waits for it hears of it
      return original;
    } catch (error) {
      await opened.file.close();
      throw error;
    }
  }

  get size(): number {
    return this.opened.size;
  }

  /** All of it; undefined where it is large, or was cut while it was read. */
  get whole(): Buffer | undefined {
    return this.#head.length === this.size ? this.#head : undefined;
  }

  /** Zeros where the file was cut meanwhile: they parse as no JSON. Not to be written to. */
  async read(position: number, length: number): Promise<Buffer> {
    if (position + length <= this.#head.length) return this.#head.subarray(position, position + length);
    const piece = Buffer.alloc(length);
    if (this.whole === undefined) await fill(this.opened.file, piece, position);
    return piece;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.opened.file.close();
    return this.#closing;
  }
}

export interface Originals {
  readonly dir: string;
  readonly config: Original;
  readonly weights: Original;
  readonly signature: Signature;
  readonly close: () => Promise<void>;
}

/** undefined: one of the two is not there, or no regular file. Its caller closes them. Rejects as `open` does. */
export async function openOriginals(dir: string, open: Opener): Promise<Originals | undefined> {
  const opening = ADAPTER_FILES.map(async (name) => {
    const opened = await open(join(dir, name));
    return opened && (await Original.read(opened));
  });
  const found = (await Promise.allSettled(opening)).flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  const close = async () => void (await Promise.all(found.map((one) => one?.close())));
  const [config, weights] = found;
  if (config !== undefined && weights !== undefined) {
    const signature = `${config.opened.stamp} ${weights.opened.stamp}`;
    return { dir, config, weights, signature, close };
  }
  await close();
  await Promise.all(opening); // which of them was refused, if any
  return undefined;
}

/** Reads until the buffer is full or the file ends; resolves with how many bytes there were. */
export async function fill(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
