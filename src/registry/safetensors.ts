// Reads and judges the header of a safetensors file: 8 bytes little-endian length, JSON, then the tensors' bytes.
// It reads the header only, never the tensors: whether the file is whole follows from its size.
// Rules: https://huggingface.co/docs/safetensors (no holes, no overlaps, offsets from the header's end).
import { constants, open } from 'node:fs/promises';
import { z } from 'zod';

const FILE_HEADER_BYTES = 8;
/** The limit of the safetensors library itself. */
const HEADER_BYTES_MAX = 100_000_000;

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
}

export type SafetensorsFile =
  | { readonly kind: 'whole'; readonly tensors: ReadonlyMap<string, Tensor> }
  /** Half-written or broken; `about` is a phrase that fits behind the file's name. */
  | { readonly kind: 'broken'; readonly about: string };

const Natural = z.number().int().nonnegative();
const Entry = z.object({ dtype: z.string(), shape: z.array(Natural), data_offsets: z.tuple([Natural, Natural]) });

/** Rejects only with a file system's error (the file is gone, may not be read). */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  // O_NONBLOCK: a FIFO of this name must not hang the gateway.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) return broken('is not a regular file');
    if (stat.size < FILE_HEADER_BYTES) return broken(`has ${stat.size} bytes, less than a header`);
    const length = Number((await readAt(file, 0, FILE_HEADER_BYTES)).readBigUInt64LE());
    if (length > HEADER_BYTES_MAX) return broken(`claims a header of ${length} bytes; it is no safetensors file`);
    const dataStart = FILE_HEADER_BYTES + length;
    if (stat.size < dataStart) return broken(`has ${stat.size} bytes, less than its header of ${dataStart}`);
    const header = parseHeader((await readAt(file, FILE_HEADER_BYTES, length)).toString('utf8'));
    if (typeof header === 'string') return broken(header);
    const expected = dataStart + header.dataBytes;
    if (stat.size !== expected) return broken(`has ${stat.size} of ${expected} bytes`);
    return { kind: 'whole', tensors: header.tensors };
  } finally {
    await file.close();
  }
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
    tensors.set(name, { dtype: entry.data.dtype, shape: entry.data.shape });
    ranges.push(entry.data.data_offsets);
  }
  ranges.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let dataBytes = 0;
  for (const [begin, end] of ranges) {
    if (begin !== dataBytes || end < begin) return 'has a header whose tensors overlap or leave holes';
    dataBytes = end;
  }
  return { tensors, dataBytes };
}

async function readAt(file: Awaited<ReturnType<typeof open>>, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break; // shrunk meanwhile: the zeros left behind parse as no JSON
    done += bytesRead;
  }
  return buffer;
}

const broken = (about: string): SafetensorsFile => ({ kind: 'broken', about });
