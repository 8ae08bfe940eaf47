// Inputs near validity: noise is refused by the first byte, and finds nothing. What is valid is cut, doubled, and changed in a few places.
import fc from 'fast-check';

type Edit = readonly [where: number, what: number, kind: 'set' | 'insert' | 'delete' | 'cut' | 'double'];

/** One to three edits; `marks` are the bytes that mean something in this format. */
const editsWith = (marks: string): fc.Arbitrary<Edit[]> =>
  fc.array(
    fc.tuple(
      fc.nat(0xffff),
      fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from(marks))),
      fc.constantFrom('set', 'insert', 'delete', 'cut', 'double'),
    ),
    { minLength: 1, maxLength: 3 },
  );

export const damaged = (valid: fc.Arbitrary<Buffer>, marks: string): fc.Arbitrary<Buffer> =>
  fc.tuple(valid, editsWith(marks)).map(([bytes, edits]) => edits.reduce(edit, bytes));

/** As UTF-8 reads it afterwards. */
export const damagedText = (valid: fc.Arbitrary<string>, marks: string): fc.Arbitrary<string> =>
  damaged(
    valid.map((text) => Buffer.from(text)),
    marks,
  ).map((bytes) => bytes.toString());

function edit(bytes: Buffer, [where, what, kind]: Edit): Buffer {
  const at = where % (bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (kind) {
    case 'set':
      return Buffer.concat([before, Buffer.of(what), after.subarray(1)]);
    case 'insert':
      return Buffer.concat([before, Buffer.of(what), after]);
    case 'delete':
      return Buffer.concat([before, after.subarray(1 + (what % 4))]);
    case 'cut':
      return before;
    case 'double':
      return Buffer.concat([before, after.subarray(0, what), after]);
  }
}

/** Where a stream's chunks end. */
export const places = fc.array(fc.nat(0xffff), { maxLength: 6 });

/** The bytes in pieces that end there, some of them empty. */
export function cutAt(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...at.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}
