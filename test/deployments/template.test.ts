// Promise: a template is str.format's, checked before it is used, and an input's own text is never read as one.
import { expect, test } from 'vitest';
import { fill, PLAIN, parseTemplate } from '../../src/deployments/template.ts';
import { seeded, seeds } from '../random.ts';

const filled = (template: string, values: Record<string, string>) =>
  fill(parseTemplate(template), new Map(Object.entries(values)));

test.each([
  ['{prompt}', { prompt: 'Hi' }, 'Hi'],
  ['Q: {prompt}\nA:', { prompt: 'Hi' }, 'Q: Hi\nA:'],
  ['{a}{b}{a}', { a: '1', b: '2' }, '121'],
  ['{{"q": "{prompt}"}}', { prompt: 'Hi' }, '{"q": "Hi"}'],
  ['{{{prompt}}}', { prompt: 'Hi' }, '{Hi}'],
  ['{prompt}', { prompt: '{other} {{ $& }}' }, '{other} {{ $& }}'],
  ['{toString}', { toString: 'Hi' }, 'Hi'],
])('%j with %j is %j', (template, values, text) => {
  expect(filled(template, values)).toBe(text);
});

test.each([
  ['', 'no input'],
  ['Hello', 'no input'],
  ['{{prompt}}', 'no input'],
  ['{}', '"{}" at character 1'],
  ['ab {0}', '"{0}" at character 4'],
  ['{prompt!r}', '"{prompt!r}"'],
  ['{prompt:>10}', '"{prompt:>10}"'],
  ['{a.b}', '"{a.b}"'],
  ['{prompt', '"{" at character 1'],
  ['prompt} {prompt}', '"}" at character 7'],
  ['{ prompt }', '"{ prompt }"'],
])('%j is refused: %s', (template, words) => {
  expect(() => parseTemplate(template)).toThrow(words);
});

test('an input that is missing is named', () => {
  expect(() => filled('{prompt} {context}', { prompt: 'Hi' })).toThrow('no "context"');
  expect(() => filled('{toString}', {})).toThrow('no "toString"');
});

test('any text comes out of a template as it went in: in an input, and between the inputs with its braces doubled', () => {
  for (const seed of seeds(20)) {
    const random = seeded(seed);
    const text = () =>
      Array.from({ length: random.below(30) }, () => random.pick([...'{}a$&\\"\n ü😀', 'prompt'])).join('');
    const [before, between, after, value] = [text(), text(), text(), text()];
    const double = (one: string) => one.replaceAll('{', '{{').replaceAll('}', '}}');
    const template = `${double(before)}{x}${double(between)}{x}${double(after)}`;
    expect(filled(template, { x: value }), `seed ${seed}`).toBe(before + value + between + value + after);
    expect(fill(PLAIN, new Map([['prompt', value]]))).toBe(value);
  }
});
