// What one engine says: a file that it writes itself, so that it goes on when the gateway ends. Bounded: what is full becomes the one before,
// and of those there is one. It knows no process.
import { closeSync, createReadStream, createWriteStream, openSync } from 'node:fs';
import { mkdir, open, rm, stat, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const BYTES_MAX = 8_388_608;
/** Read of the end for its last lines: so much, and more for many. */
const TAIL_BYTES = 256 * 1024;
const LINE_BYTES = 1024;
const PIECE_BYTES = 64 * 1024;
const LOOK_MS = 200;

export class LogFile {
  readonly path: string;
  readonly #bytesMax: number;
  #bounding: Promise<void> | undefined;

  constructor(path: string, { bytesMax = BYTES_MAX }: { bytesMax?: number } = {}) {
    this.path = path;
    this.#bytesMax = bytesMax;
  }

  /** In data/engines/, by the engine's name. */
  static of(data: string, name: string): LogFile {
    return new LogFile(join(data, 'engines', name, 'log'));
  }

  get #before(): string {
    return `${this.path}.1`;
  }

  /** Begins an empty one, in place of what an earlier engine of this name has said. */
  async begin(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    await Promise.all([this.path, this.#before].map((path) => rm(path, { force: true })));
    closeSync(openSync(this.path, 'a', 0o600));
  }

  /** For an engine to append to; its caller closes it. */
  open(): number {
    return openSync(this.path, 'a', 0o600);
  }

  /** Its writer appends: emptied under it, the file goes on from its beginning. What is written in between is lost. One at a time. */
  keepBounded(): Promise<void> {
    this.#bounding ??= this.#bound().finally(() => {
      this.#bounding = undefined;
    });
    return this.#bounding;
  }

  async #bound(): Promise<void> {
    const found = await stat(this.path).catch(ifThere);
    if (found === undefined || found.size <= this.#bytesMax) return;
    // Nobody bounds it while there is no gateway: it may be as large as the disk.
    const end = createReadStream(this.path, { start: found.size - this.#bytesMax });
    await pipeline(end, createWriteStream(this.#before, { mode: 0o600 }));
    await truncate(this.path);
  }

  /**
   * The last so many; none where there is no file. A line that was written over (a progress bar's) is as it was at last.
   * @param end the byte before which they are looked for; left out: the file's end
   */
  async last(lines: number, end?: number): Promise<string[]> {
    if (lines === 0) return [];
    const bytesMax = Math.max(TAIL_BYTES, lines * LINE_BYTES);
    const { text, isWhole } = await this.#tail(this.path, bytesMax, end);
    const found = linesOf(text);
    if (found.length >= lines || !isWhole) return found.slice(-lines);
    const before = await this.#tail(this.#before, bytesMax);
    return [...linesOf(before.text), ...found].slice(-lines);
  }

  async exists(): Promise<boolean> {
    return (await stat(this.path).catch(ifThere)) !== undefined;
  }

  /** The last lines, and what is written from now on, until the signal aborts and all that was there then has been read. */
  async *follow(lines: number, signal: AbortSignal): AsyncGenerator<string | Uint8Array> {
    let offset = (await stat(this.path).catch(ifThere))?.size ?? 0;
    yield textOf(await this.last(lines, offset));
    for (let isOver = false; ; isOver = signal.aborted) {
      for (;;) {
        const piece = await this.#piece(offset);
        if (piece.from === undefined) break;
        offset = piece.from + piece.bytes.length;
        yield piece.bytes;
      }
      if (isOver) return;
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #piece(offset: number): Promise<{ from: number | undefined; bytes: Uint8Array }> {
    const file = await open(this.path).catch(ifThere);
    if (file === undefined) return NOTHING;
    try {
      const { size } = await file.stat();
      const from = size < offset ? 0 : offset;
      if (size <= from) return NOTHING;
      const bytes = Buffer.alloc(Math.min(PIECE_BYTES, size - from));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
      return bytesRead === 0 ? NOTHING : { from, bytes: bytes.subarray(0, bytesRead) };
    } finally {
      await file.close();
    }
  }

  /** Of the last so many bytes, the lines that are whole. */
  async #tail(path: string, bytesMax: number, end = Number.POSITIVE_INFINITY) {
    const file = await open(path).catch(ifThere);
    if (file === undefined) return { text: '', isWhole: true };
    try {
      const size = Math.min(end, (await file.stat()).size);
      const bytes = Buffer.alloc(Math.min(size, bytesMax));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length);
      const isWhole = bytes.length === size;
      return { text: bytes.toString('utf8', isWhole ? 0 : bytes.indexOf('\n') + 1, bytesRead), isWhole };
    } finally {
      await file.close();
    }
  }
}

export const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

const NOTHING = { from: undefined, bytes: new Uint8Array() };

function linesOf(text: string): string[] {
  const lines = text.split('\n').map((line) => line.replace(/\r+$/, '').split('\r').at(-1)?.trimEnd() ?? '');
  return lines.filter((line) => line !== '');
}

function ifThere(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
