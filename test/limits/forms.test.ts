// Promise: what is held of a form to be judged has a bound: at it the form is read, over it the caller is told which part is too long.
import { expect, test } from 'vitest';
import { boundaryOf, FormScanner } from '../../src/openai/form.ts';

const scan = (text: string) => {
  const scanner = new FormScanner('b');
  // In small pieces, so that nothing is refused or taken for having come at once.
  for (let at = 0; at < text.length; at += 1_000) scanner.push(Buffer.from(text.slice(at, at + 1_000)));
  return scanner;
};
const part = (head: string, text: string) => `--b\r\n${head}\r\n\r\n${text}\r\n`;
const MODEL = 'content-disposition: form-data; name="model"';

test("a part's head of 16,384 bytes is read, one of 16,385 is refused", () => {
  const padded = (bytes: number) => {
    // Its own line's end before it counts too.
    const head = `content-disposition: form-data; name="file"\r\nx-pad: `;
    return `${part(head + 'x'.repeat(bytes - 2 - head.length), 'file') + part(MODEL, 'base')}--b--`;
  };
  expect(scan(padded(16_384)).model?.value).toBe('base');
  expect(() => scan(padded(16_385))).toThrow('16384 bytes');
});

test('a model of 4,096 bytes is read, one of 4,097 is refused', () => {
  expect(scan(`${part(MODEL, 'x'.repeat(4_096))}--b--`).model?.value).toHaveLength(4_096);
  expect(() => scan(`${part(MODEL, 'x'.repeat(4_097))}--b--`)).toThrow('4096 bytes');
});

test('a boundary of 70 characters is taken, one of 71 is refused', () => {
  const type = (characters: number) => `multipart/form-data; boundary=${'b'.repeat(characters)}`;
  expect(boundaryOf(type(70))).toHaveLength(70);
  expect(() => boundaryOf(type(71))).toThrow('1 to 70');
});
