// The names of models and checkpoints, and the ids of answers: texts of callers in which a name is found.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { answerId, placeOf } from '../../src/openai/answer-id.ts';
import { headerText } from '../../src/openai/header-text.ts';
import {
  checkAlias,
  checkCheckpointName,
  checkModelName,
  isAlias,
  type ParsedName,
  parseName,
  parseVersion,
  printName,
} from '../../src/registry/name.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

/** Texts that look like names: plenty of @, digits, letters, and now and then anything. */
export const nameText = fc.oneof(
  fc.string({ unit: fc.constantFrom('@', 'v', 'a', '0', '7', '-', '/', '.', ' ', '<', '>', '=', 'é', 'и') }),
  fc.string({ unit: 'binary' }),
);
const model = nameText.filter((candidate) => candidate.length > 0);
const side = fc.constantFrom('<' as const, '<=' as const, '>' as const, '>=' as const);
const alias = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,8}$/).filter(isAlias);
const step = fc.oneof(fc.nat(30), fc.maxSafeNat());

const PLAIN = { noNullPrototype: true } as const;

/** What `parseName` may say. */
export const parsedName: fc.Arbitrary<ParsedName> = fc.oneof(
  nameText
    .filter((candidate) => parseName(candidate).kind === 'bare')
    .map((bare) => ({ kind: 'bare' as const, model: bare })),
  fc.record({ kind: fc.constant('step' as const), model, step }, PLAIN),
  fc.record({ kind: fc.constantFrom('latest' as const, 'best' as const), model }, PLAIN),
  fc.record({ kind: fc.constant('nearest' as const), model, side, step }, PLAIN),
  fc.record({ kind: fc.constant('alias' as const), model, alias }, PLAIN),
);

/** The grammar of docs/names.md, once more and in another way. */
function wanted(text: string): ParsedName['kind'] {
  if (/^.+@[0-9]+$/s.test(text)) return BigInt(afterAt(text)) <= 9007199254740991n ? 'step' : 'bare';
  if (/^.+@[<>]=?[0-9]+$/s.test(text))
    return BigInt(afterAt(text).replace(/^[<>]=?/, '')) <= 9007199254740991n ? 'nearest' : 'bare';
  if (/^.+@latest$/s.test(text)) return 'latest';
  if (/^.+@best$/s.test(text)) return 'best';
  return /^.+@(?!v[0-9]+$)[A-Za-z][A-Za-z0-9_-]*$/s.test(text) ? 'alias' : 'bare';
}
const afterAt = (text: string) => text.slice(text.lastIndexOf('@') + 1);

export const names: Target = {
  name: 'names',
  promise: 'a name is parsed as the grammar says, what was printed parses to the same, and a refusal is a sentence',
  slice: 4_000,
  property: () =>
    fc.property(parsedName, damagedText(parsedName.map(printName), '@<=>v05-,'), nameText, (parsed, near, any) => {
      same(parseName(printName(parsed)), parsed);
      for (const text of [near, any]) {
        const found = parseName(text);
        same(found.kind, wanted(text));
        same(parseName(printName(found)), found);
        const version = parseVersion(text);
        if (version !== undefined) ok(text.startsWith(`${version.model}-v`));
        for (const problem of [checkModelName(text), checkCheckpointName(text), checkAlias(text)])
          ok(problem === undefined || /^.+\.$/s.test(problem), problem);
        // What may be registered can be told in a header, and is told whole.
        const header = headerText(text);
        ok(/^[\x20-\x7e]*$/.test(header), header);
        if (checkCheckpointName(text) === undefined) same(decodeURIComponent(header), text);
      }
    }),
};

/** Up to as many letters as a name may have. */
const longName = (maxLength: number) =>
  fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    fc.tuple(fc.constantFrom('a', 'é', '名', '"'), fc.nat(maxLength)).map(([letter, times]) => letter.repeat(times)),
  );
const place = fc.record(
  {
    backend: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
    from: longName(264),
    to: longName(200),
  },
  PLAIN,
);

export const ids: Target = {
  name: 'ids',
  promise:
    'the id of an answer says where it is, whatever the names; what is only like an id says a place of texts, or none',
  slice: 4_000,
  property: () =>
    fc.property(
      place.filter(({ from, to }) => from.isWellFormed() && to.isWellFormed()),
      damagedText(place.map(answerId), '_-aA0='),
      (told, near) => {
        same(placeOf(answerId(told)), told);
        const found = placeOf(near);
        ok(found === undefined || Object.values(found).every((text) => typeof text === 'string'));
      },
    ),
};
