// Promise: the `model` of a form is found to the byte however its bytes are cut, and a form that an engine might read otherwise is refused.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StepgateError } from '../../src/errors.ts';
import { boundaryOf, type FormModel, FormScanner } from '../../src/openai/form.ts';

const part = (head: string, body: Buffer | string): Buffer =>
  Buffer.concat([Buffer.from(`--b\r\n${head}\r\n\r\n`), Buffer.from(body), Buffer.from('\r\n')]);
const field = (name: string, body: Buffer | string) => part(`Content-Disposition: form-data; name="${name}"`, body);
const file = (body: Buffer | string) =>
  part('Content-Disposition: form-data; name="file"; filename="a;b.wav"\r\nContent-Type: audio/wav', body);
const form = (...parts: Buffer[]): Buffer => Buffer.concat([...parts, Buffer.from('--b--\r\n')]);

function scan(bytes: Buffer, cuts: readonly number[] = []): { model: FormModel | undefined; ended: boolean } {
  const scanner = new FormScanner('b');
  let from = 0;
  for (const at of [...cuts].sort((a, b) => a - b)) {
    scanner.push(bytes.subarray(from, at));
    from = at;
  }
  scanner.push(bytes.subarray(from));
  return { model: scanner.model, ended: scanner.ended };
}

const refused = (bytes: Buffer): string => {
  try {
    scan(bytes);
  } catch (error) {
    if (error instanceof StepgateError) return error.code;
    throw error;
  }
  return 'taken';
};

describe('FormScanner', () => {
  test('finds the model among parts that hold anything, wherever the bytes are cut', () => {
    const nasty = fc.array(fc.constantFrom('\r', '\n', '-', '--b', '\r\n--', '\r\n--bb', 'model', '\0', 'x'), {
      maxLength: 30,
    });
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      nasty.map((pieces) => Buffer.from(pieces.join(''))),
    );
    // A delimiter in a file would end the file.
    const innocent = content.filter((bytes) => !/\r\n--b(\r\n|--)/.test(`\r\n${bytes.toString('latin1')}\r\n--`));
    const before = fc.array(
      fc.oneof(
        innocent.map(file),
        innocent.map((bytes) => field('models', bytes)),
      ),
      { maxLength: 3 },
    );
    const name = fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .filter((text) => !/[\r\n]/.test(text) && text.isWellFormed());
    fc.assert(
      fc.property(before, name, before, fc.array(fc.nat(2000), { maxLength: 12 }), (parts, value, more, cuts) => {
        const bytes = form(...parts, field('model', value), ...more);
        const { model, ended } = scan(
          bytes,
          cuts.map((at) => Math.min(at, bytes.length)),
        );
        expect(ended).toBe(true);
        expect(model?.value).toBe(value);
        expect(bytes.subarray(model?.start, model?.end).toString()).toBe(value);
      }),
      { numRuns: 2000 },
    );
  });

  test('byte by byte, with text before the first delimiter', () => {
    const bytes = Buffer.concat([Buffer.from('preamble\r\n'), form(file('x'), field('model', 'my-model@5'))]);
    const { model } = scan(
      bytes,
      Array.from(bytes, (_, i) => i),
    );
    expect(model?.value).toBe('my-model@5');
  });

  test('a form without a model says so at its end', () => {
    expect(scan(form(file('x')))).toEqual({ model: undefined, ended: true });
    expect(scan(Buffer.from('no form at all'))).toEqual({ model: undefined, ended: false });
  });

  test('what follows the last delimiter is no part', () => {
    expect(scan(Buffer.concat([form(file('x')), form(field('model', 'late'))])).model).toBeUndefined();
  });

  test.each([
    ['two models', form(field('model', 'a'), file('x'), field('model', 'b'))],
    ['a name in pieces', form(part('Content-Disposition: form-data; name*0="mo"; name*1="del"', 'a'))],
    ['an encoded name', form(part("Content-Disposition: form-data; name*=utf-8''model", 'a'))],
    ['an escaped name', form(part('Content-Disposition: form-data; name="mo\\del"', 'a'))],
    ['two names', form(part('Content-Disposition: form-data; name="x"; name="model"', 'a'))],
    [
      'two dispositions',
      form(part('Content-Disposition: form-data; name="x"\r\ncontent-disposition: form-data; name="model"', 'a')),
    ],
    ['a folded head', form(part('Content-Disposition: form-data;\r\n name="model"', 'a'))],
    ['no name', form(part('Content-Disposition: form-data', 'a'))],
    ['no disposition', form(part('Content-Type: text/plain', 'a'))],
    ['a file called model', form(part('Content-Disposition: form-data; name="model"; filename="x"', 'a'))],
    ['a name without an end', form(field('model', 'x'.repeat(5000)))],
    ['a head without an end', Buffer.from(`--b\r\nx: ${'y'.repeat(20_000)}`)],
  ])('refused, since an engine might read it otherwise: %s', (_, bytes) => {
    expect(refused(bytes)).toBe('invalid_request');
  });

  test.each([
    ['curl', 'Content-Disposition: form-data; name="model"'],
    ['in other letters', 'content-disposition: Form-Data; NAME="model"'],
    ['without quotes', 'Content-Disposition: form-data; name=model'],
    ['with a type', 'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-8'],
  ])('taken: %s', (_, head) => {
    expect(scan(form(part(head, 'my-model@5'))).model?.value).toBe('my-model@5');
  });

  test.each([
    'filename="a \\"quoted\\" one.wav"',
    'filename="x"; filename*=utf-8\'\'%e2%82%ac.wav',
    'filename="naïve.wav"',
  ])('taken: a file with %s', (name) => {
    const head = `Content-Disposition: form-data; name="file"; ${name}`;
    expect(scan(form(part(head, 'x'), field('model', 'm'))).model?.value).toBe('m');
  });
});

describe('boundaryOf', () => {
  test.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['multipart/form-data; boundary="a b"', 'unsupported_media_type'],
    ['Multipart/Form-Data;boundary="a:b"', 'a:b'],
    ['multipart/form-data; boundary=abc; charset=utf-16', 'unsupported_media_type'],
    ['multipart/form-data', 'unsupported_media_type'],
    ['multipart/mixed; boundary=abc', undefined],
    ['application/json', undefined],
  ])('%s: %s', (header, wanted) => {
    let found: string | undefined;
    try {
      found = boundaryOf(header);
    } catch (error) {
      found = error instanceof StepgateError ? error.code : undefined;
    }
    expect(found).toBe(wanted);
  });
});
