import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkCheckpointName,
  checkModelName,
  isAlias,
  type ParsedName,
  parseName,
  printName,
} from '../../src/registry/name.ts';

// Texts that look like names: plenty of @, digits, letters, and now and then anything.
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('@', 'v', 'a', '0', '7', '-', '/', '.', ' ', '<', '>', '=', 'é') }),
  fc.string({ unit: 'binary' }),
);
const model = text.filter((candidate) => candidate.length > 0);
const parsed: fc.Arbitrary<ParsedName> = fc.oneof(
  text
    .filter((candidate) => parseName(candidate).kind === 'bare')
    .map((bare) => ({ kind: 'bare' as const, model: bare })),
  fc.record({ kind: fc.constant('step' as const), model, step: fc.maxSafeNat() }),
  fc.record({ kind: fc.constantFrom('latest' as const, 'best' as const), model }),
  fc.record({
    kind: fc.constant('nearest' as const),
    model,
    side: fc.constantFrom('<' as const, '<=' as const, '>' as const, '>=' as const),
    step: fc.maxSafeNat(),
  }),
  fc.record({
    kind: fc.constant('alias' as const),
    model,
    alias: fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]*$/).filter(isAlias),
  }),
);

describe('parsing a name', () => {
  test('parsing what was printed gives the same name', () => {
    fc.assert(
      fc.property(parsed, (name) => {
        expect(parseName(printName(name))).toEqual(name);
      }),
      { numRuns: 2_000 },
    );
  });

  test('printing what was parsed is canonical: parsing and printing it again changes nothing', () => {
    fc.assert(
      fc.property(text, (any) => {
        expect(printName(parseName(printName(parseName(any))))).toBe(printName(parseName(any)));
      }),
      { numRuns: 2_000 },
    );
  });

  test('no string makes it throw', () => {
    fc.assert(
      fc.property(text, (any) => void [parseName(any), checkModelName(any), checkCheckpointName(any)]),
      { numRuns: 5_000 },
    );
  });

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
  ])('%j may not, and a sentence says why', (name) => expect(checkCheckpointName(name)).toMatch(/\.$/));

  test("a model's name cannot look like one of its checkpoints", () => {
    expect(checkModelName('my-model')).toBeUndefined();
    expect(checkModelName('my-model@5')).toContain('"@5"');
    expect(checkModelName('my-model@latest')).toContain('"@latest"');
  });
});
