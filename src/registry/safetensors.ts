// Reads and judges the header of a safetensors file: 8 bytes little-endian length, JSON, then the tensors' bytes.
// Whether the file is whole follows from its size; the tensors themselves are read by `findNaN` alone.
// Rules: https://huggingface.co/docs/safetensors (no holes, no overlaps, offsets from the header's end).
import { isUtf8 } from 'node:buffer';
import { constants, open } from 'node:fs/promises';
import { z } from 'zod';
import { fill } from './originals.ts';

const FILE_HEADER_BYTES = 8;
/** Of 230,000 tensors; the library itself takes 100 MB, of which one that is made for it needs gigabytes when it is parsed. */
const HEADER_BYTES_MAX = 32 * 1024 * 1024;

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Where its bytes are, from the header's end. */
  readonly begin: number;
  readonly end: number;
}

export type SafetensorsFile =
  | { readonly kind: 'whole'; readonly tensors: ReadonlyMap<string, Tensor> }
  /** Half-written or broken; `about` is a phrase that fits behind the file's name. */
  | { readonly kind: 'broken'; readonly about: string };

const Natural = z.number().int().nonnegative();
const Entry = z.object({ dtype: z.string(), shape: z.array(Natural), data_offsets: z.tuple([Natural, Natural]) });

/** Of one element. The library refuses a tensor whose bytes are not those of its shape; of kinds that are not here nothing is said. */
const ELEMENT_BYTES: Readonly<Record<string, number | undefined>> = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, U16: 2, I16: 2, F16: 2, BF16: 2 },
  ...{ U32: 4, I32: 4, F32: 4, U64: 8, I64: 8, F64: 8 },
};

/** A regular file, or what was read of it; `read` gives zeros where there is nothing (any more). */
export interface Bytes {
  readonly size: number;
  read(position: number, length: number): Promise<Buffer>;
}

/** Rejects only with a file system's error (the file is gone, may not be read). */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  // O_NONBLOCK: a FIFO of this name must not hang the gateway.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) return broken('is not a regular file');
    const read = async (position: number, length: number) => {
      const bytes = Buffer.alloc(length);
      await fill(file, bytes, position);
      return bytes;
    };
    return await judgeSafetensors({ size: found.size, read });
  } finally {
    await file.close();
  }
}

/** What the file says; 0 where it is too short to say. */
export async function headerBytesOf(file: Bytes): Promise<number> {
  return file.size < FILE_HEADER_BYTES ? 0 : Number((await file.read(0, FILE_HEADER_BYTES)).readBigUInt64LE());
}

/** As `readSafetensors`, of a file that is open already. */
export async function judgeSafetensors(file: Bytes): Promise<SafetensorsFile> {
  const { size } = file;
  if (size < FILE_HEADER_BYTES) return broken(`has ${size} bytes, less than a header`);
  const length = await headerBytesOf(file);
  if (length > HEADER_BYTES_MAX)
    return broken(`claims a header of ${length} bytes, over ${HEADER_BYTES_MAX}: is it a safetensors file?`);
  const dataStart = FILE_HEADER_BYTES + length;
  if (size < dataStart) return broken(`has ${size} bytes, less than its header of ${dataStart}`);
  const text = await file.read(FILE_HEADER_BYTES, length);
  if (!isUtf8(text)) return broken('has a header that is not UTF-8');
  const header = parseHeader(text.toString('utf8'));
  if (typeof header === 'string') return broken(header);
  const expected = dataStart + header.dataBytes;
  if (size !== expected) return broken(`has ${size} of ${expected} bytes`);
  return { kind: 'whole', tensors: header.tensors };
}

/** Pure: the header's text to its tensors, or a phrase that says what is wrong. */
export function parseHeader(text: string): { tensors: ReadonlyMap<string, Tensor>; dataBytes: number } | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return 'has a header that is not JSON';
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return 'has a header that is no JSON object';
  const tensors = new Map<string, Tensor>();
  const ranges: (readonly [begin: number, end: number])[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    const entry = Entry.safeParse(value);
    if (!entry.success) return `has a header whose tensor "${name}" lacks dtype, shape or data_offsets`;
    const { dtype, shape, data_offsets: range } = entry.data;
    const elementBytes = Object.hasOwn(ELEMENT_BYTES, dtype) ? ELEMENT_BYTES[dtype] : undefined;
    if (elementBytes !== undefined && range[1] - range[0] !== shape.reduce((all, one) => all * one, elementBytes))
      return `has a header whose tensor "${name}" has another size than its shape`;
    tensors.set(name, { dtype, shape, begin: range[0], end: range[1] });
    ranges.push(range);
  }
  ranges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let dataBytes = 0;
  for (const [begin, end] of ranges) {
    if (begin !== dataBytes || end < begin) return 'has a header whose tensors overlap or leave holes';
    dataBytes = end;
  }
  return { tensors, dataBytes };
}

/** Files up to this are searched whole for NaN. Of larger ones the beginning of each tensor is: a run that has diverged has NaN everywhere. */
const SEARCH_BYTES_MAX = 8 * 1024 * 1024;
const BEGINNING_BYTES = 4 * 1024;
const PIECE_BYTES = 256 * 1024;

/** How a number says that it is NaN: without its sign it is greater than infinity. Both as bits. */
interface Kind {
  readonly bytes: 2 | 4;
  readonly unsigned: number;
  readonly infinity: number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  F32: { bytes: 4, unsigned: 0x7fff_ffff, infinity: 0x7f80_0000 },
  BF16: { bytes: 2, unsigned: 0x7fff, infinity: 0x7f80 },
  F16: { bytes: 2, unsigned: 0x7fff, infinity: 0x7c00 },
};

/** The first tensor that holds a NaN; undefined: none was seen (see SEARCH_BYTES_MAX), or the file changed meanwhile. Rejects as
 *  readSafetensors does. Cost: about a millisecond per MB, in pieces that hold nobody up. */
export async function findNaN(file: Bytes, tensors: ReadonlyMap<string, Tensor>): Promise<string | undefined> {
  const dataStart = FILE_HEADER_BYTES + (await headerBytesOf(file));
  for (const [name, { dtype, begin, end }] of tensors) {
    const kind = KINDS[dtype];
    if (kind === undefined || dataStart + end > file.size) continue;
    const stop = file.size > SEARCH_BYTES_MAX ? Math.min(end, begin + BEGINNING_BYTES) : end;
    for (let at = begin; at < stop; at += PIECE_BYTES)
      if (holdsNaN(await file.read(dataStart + at, Math.min(PIECE_BYTES, stop - at)), kind)) return name;
  }
  return undefined;
}

/** Machines that run engines are little-endian, as the file is. */
function holdsNaN(piece: Buffer, { bytes, unsigned, infinity }: Kind): boolean {
  const aligned = piece.byteOffset % bytes === 0 ? piece : Buffer.from(piece);
  const { buffer, byteOffset, length } = aligned;
  const count = Math.floor(length / bytes);
  // An index, not an iterator: 1 against 2 to 5 ms for a MB.
  const numbers = bytes === 4 ? new Uint32Array(buffer, byteOffset, count) : new Uint16Array(buffer, byteOffset, count);
  for (let at = 0; at < count; at++) if (((numbers[at] ?? 0) & unsigned) > infinity) return true;
  return false;
}

const broken = (about: string): SafetensorsFile => ({ kind: 'broken', about });
