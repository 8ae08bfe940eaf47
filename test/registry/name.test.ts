// What each name means, by example; that any text is parsed as the grammar says is test/fuzz/names.ts.
import { describe, expect, test } from 'vitest';
import { checkCheckpointName, checkModelName, type ParsedName, parseName } from '../../src/registry/name.ts';

describe('parsing a name', () => {
  test.each<[string, ParsedName]>([
    ['my-model@5', { kind: 'step', model: 'my-model', step: 5 }],
    ['my-model@0005', { kind: 'step', model: 'my-model', step: 5 }],
    ['my-model@0', { kind: 'step', model: 'my-model', step: 0 }],
    ['org/x@rev@7', { kind: 'step', model: 'org/x@rev', step: 7 }],
    ['my-model@9007199254740991', { kind: 'step', model: 'my-model', step: Number.MAX_SAFE_INTEGER }],
    ['my-model@9007199254740993', { kind: 'bare', model: 'my-model@9007199254740993' }],
    ['my-model@latest', { kind: 'latest', model: 'my-model' }],
    ['my-model@best', { kind: 'best', model: 'my-model' }],
    ['my-model@<=0100', { kind: 'nearest', model: 'my-model', side: '<=', step: 100 }],
    ['my-model@>5', { kind: 'nearest', model: 'my-model', side: '>', step: 5 }],
    ['my-model@=5', { kind: 'bare', model: 'my-model@=5' }],
    ['my-model@<=', { kind: 'bare', model: 'my-model@<=' }],
    ['my-model@champion', { kind: 'alias', model: 'my-model', alias: 'champion' }],
    ['my-model@v3', { kind: 'bare', model: 'my-model@v3' }],
    ['my-model@', { kind: 'bare', model: 'my-model@' }],
    ['my-model@-5', { kind: 'bare', model: 'my-model@-5' }],
    ['my-model@5 ', { kind: 'bare', model: 'my-model@5 ' }],
    ['my-model@٥', { kind: 'bare', model: 'my-model@٥' }],
    ['@5', { kind: 'bare', model: '@5' }],
    ['', { kind: 'bare', model: '' }],
  ])('%j', (name, expected) => expect(parseName(name)).toEqual(expected));
});

describe('what may be registered', () => {
  test.each(['my-model@5', 'my-model', 'name:active', 'org/x@rev', 'Qwen/Qwen3 8B', 'имя@1', 'texts', 'm@v5'])(
    '%j may',
    (name) => {
      expect(checkCheckpointName(name)).toBeUndefined();
    },
  );

  test.each([
    '',
    ' a',
    'a ',
    'a,b',
    'a\nb',
    'a\u0000',
    'a\u0085b',
    '\ud800',
    'text',
    'image',
    'audio',
    'video',
    'a@latest',
    'a@best',
    'a@<=5',
    'x'.repeat(201),
    'a@b@5',
    ' @5',
    'my-model@',
  ])('%j may not, and a sentence says why', (name) => expect(checkCheckpointName(name)).toMatch(/\.$/));

  test("a model's name cannot look like one of its checkpoints", () => {
    expect(checkModelName('my-model')).toBeUndefined();
    expect(checkModelName('my-model@5')).toContain('"@5"');
    expect(checkModelName('my-model@latest')).toContain('"@latest"');
  });
});
