// Safetensors files, in memory: those that a library would write, and damaged ones beside the rules of the format, which are written here once more.
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { type Bytes, judgeSafetensors } from '../../src/registry/safetensors.ts';
import { damaged } from './damage.ts';
import { same, type Target } from './target.ts';

const BYTES: Readonly<Record<string, number>> = { F32: 4, BF16: 2, F16: 2, U8: 1, I64: 8, F8_E4M3: 1 };

interface Written {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}
const tensor: fc.Arbitrary<Written> = fc.record({
  name: fc.oneof(
    fc.string({ maxLength: 4 }),
    fc.constantFrom(
      'base_model.model.layers.0.q_proj.lora_A.weight',
      'q_proj.lora_B.weight',
      '__proto__',
      'constructor',
      'é',
    ),
  ),
  dtype: fc.constantFrom(...Object.keys(BYTES)),
  shape: fc.array(fc.nat(4), { maxLength: 3 }),
});
const list = fc
  .uniqueArray(tensor, { maxLength: 5, selector: ({ name }) => name })
  .map((all) => all.filter(({ name }) => name !== '__metadata__'));

/** As the library lays tensors out: one behind the other. */
export function fileOf(tensors: readonly Written[], metadata: Record<string, string> | undefined): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape }) => {
    const begin = end;
    end += shape.reduce((all, one) => all * one, BYTES[dtype] ?? 0);
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  if (metadata !== undefined) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const header = Buffer.from(`{${entries.join(',')}}`);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(end)]);
}

export const tensorFile = fc
  .tuple(list, fc.option(fc.constant({ format: 'pt' }), { nil: undefined }))
  .map(([tensors, metadata]) => ({ tensors, bytes: fileOf(tensors, metadata) }));

/** A file that lies in memory. */
export const asFile = (bytes: Buffer): Bytes => ({
  size: bytes.length,
  read: async (position, length) => Buffer.concat([bytes.subarray(position, position + length)], length),
});

/** What the library says of it (`Metadata::validate`): does it load? */
function loads(bytes: Buffer): boolean {
  if (bytes.length < 8) return false;
  const length = bytes.readBigUInt64LE();
  if (length > BigInt(bytes.length - 8)) return false;
  const text = bytes.subarray(8, 8 + Number(length));
  if (!isUtf8(text)) return false;
  let header: unknown;
  try {
    header = JSON.parse(text.toString());
  } catch {
    return false;
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) return false;
  const all: { begin: number; end: number }[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, data_offsets: range } = (entry ?? {}) as Record<string, unknown>;
    const isCount = (one: unknown) => Number.isSafeInteger(one) && Number(one) >= 0;
    if (typeof dtype !== 'string' || !Array.isArray(shape) || !shape.every(isCount)) return false;
    if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount)) return false;
    const bytesOf = Object.hasOwn(BYTES, dtype) ? BYTES[dtype] : undefined;
    if (bytesOf !== undefined && range[1] - range[0] !== shape.reduce((sum, one) => sum * one, bytesOf)) return false;
    all.push({ begin: range[0], end: range[1] });
  }
  let at = 0;
  for (const { begin, end } of all.sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at || end < begin) return false;
    at = end;
  }
  return bytes.length === 8 + Number(length) + at;
}

export const weights: Target = {
  name: 'weights',
  promise:
    'a safetensors file is whole when its library would load it, and what it holds is what was written; else it is broken, and said why',
  slice: 2_500,
  property: () =>
    fc.asyncProperty(
      tensorFile,
      damaged(
        tensorFile.map(({ bytes }) => bytes),
        '{}[]",:0189\0',
      ),
      async ({ tensors, bytes }, near) => {
        const found = await judgeSafetensors(asFile(bytes));
        same(
          found.kind === 'whole'
            ? [...found.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
            : found,
          inOrder(tensors),
        );
        same((await judgeSafetensors(asFile(near))).kind, loads(near) ? 'whole' : 'broken');
      },
    ),
};

/** JSON.parse puts names that are whole numbers first. */
const inOrder = (tensors: readonly Written[]): Written[] => {
  const byName = new Map(tensors.map((one) => [one.name, one]));
  const object = Object.fromEntries(tensors.map(({ name }) => [name, 0]));
  return Object.keys(object).flatMap((name) => {
    const { dtype, shape } = byName.get(name) ?? {};
    return dtype === undefined || shape === undefined ? [] : [{ name, dtype, shape }];
  });
};
