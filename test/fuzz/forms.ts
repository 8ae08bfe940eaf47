// Forms (multipart/form-data): parts that hold anything, heads of all kinds. The oracle is another reader, undici's, which is not ours.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { StepgateError } from '../../src/errors.ts';
import { FormScanner } from '../../src/openai/form.ts';
import { cutAt, damaged, places } from './damage.ts';
import { same, type Target } from './target.ts';

const token = fc.constantFrom(
  '\r',
  '\n',
  '\r\n',
  '-',
  '--b',
  '\r\n--',
  '\r\n--bb',
  'model',
  '\0',
  'x',
  '"',
  '\xef\xbb\xbf',
  'é',
);
const content = fc.array(token, { maxLength: 12 }).map((pieces) => pieces.join(''));
const head = fc.oneof(
  { weight: 5, arbitrary: fc.constant('Content-Disposition: form-data; name="model"') },
  {
    weight: 3,
    arbitrary: fc.constant(
      'Content-Disposition: form-data; name="file"; filename="a;b.wav"\r\nContent-Type: audio/wav',
    ),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'content-disposition: form-data; name=model',
      'Content-Disposition: form-data; name="models"',
      'Content-Disposition: form-data; name="model"; filename="x"',
      'Content-Disposition: form-data; name="x"; name="model"',
      'Content-Disposition: form-data; name="mo\\del"',
      'Content-Disposition: form-data; name="%6dodel"',
      "Content-Disposition: form-data; name*=utf-8''model",
      'Content-Disposition: form-data;\r\n name="model"',
      'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"',
      'X: y',
    ),
  },
);
const part = fc.tuple(head, content).map(([first, held]) => `--b\r\n${first}\r\n\r\n${held}\r\n`);
export const form = fc
  .tuple(fc.array(part, { maxLength: 4 }), fc.constantFrom('--b--\r\n', '--b--\r\n', '--b--', '--b', ''))
  .map(([parts, end]) => Buffer.from(parts.join('') + end, 'latin1'));

interface Seen {
  readonly value: string | undefined;
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  readonly ended: boolean;
}

/** What the scanner makes of it, or the code of its refusal. */
function scanned(chunks: readonly Buffer[]): Seen | string {
  const scanner = new FormScanner('b');
  try {
    for (const chunk of chunks) scanner.push(chunk);
  } catch (error) {
    if (error instanceof StepgateError) return error.code;
    throw error;
  }
  const { model, ended } = scanner;
  return { value: model?.value, start: model?.start, end: model?.end, ended };
}

/** Undefined: this reader refuses the form. */
async function readElsewhere(bytes: Buffer): Promise<FormData | undefined> {
  const response = new Response(bytes, { headers: { 'content-type': 'multipart/form-data; boundary=b' } });
  return response.formData().catch(() => undefined);
}

export const forms: Target = {
  name: 'forms',
  promise: 'a form is read the same however it is cut, and never takes for its model what another reader does not',
  slice: 2_000,
  property: () =>
    fc.asyncProperty(fc.oneof(form, damaged(form, '\r\n-b";=: ')), places, async (bytes, at) => {
      const seen = scanned([bytes]);
      same(scanned(cutAt(bytes, at)), seen);
      if (typeof seen === 'string') return same(seen, 'invalid_request');
      if (seen.value !== undefined) same(bytes.subarray(seen.start, seen.end).toString(), seen.value);
      // Without a model it is answered 400, whatever others would find.
      if (!seen.ended || seen.value === undefined) return;
      // Of text before the first delimiter this reader takes a part that does not begin a line for one that does; engines refuse it.
      if (bytes.toString('latin1', 0, 3) !== '--b') return;
      const others = (await readElsewhere(bytes))?.getAll('model');
      if (others === undefined) return;
      ok(others.length <= 1, `taken with ${others.length} models`);
      // Readers differ in whether a byte order mark is part of a field.
      const text = (value: unknown) => String(value ?? '').replace(/^\uFEFF/, '');
      same(text(others[0]), text(seen.value));
    }),
};
