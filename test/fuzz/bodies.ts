// Bodies of requests, JSON of every writing: spaces, escapes that need not be, duplicate keys, odd numbers; whole, and broken in places.
import fc from 'fast-check';
import { appendMember, scanBody, spliceModel } from '../../src/openai/body.ts';
import { damaged } from './damage.ts';
import { same, type Target } from './target.ts';

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What JSON.parse says of the body, in the scanner's words, without offsets and messages. */
export function judged(body: Uint8Array): unknown {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    return { kind: 'notJson' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { kind: 'notObject' };
  const { model, stream, ...more } = value as Record<string, unknown>;
  const has = Object.hasOwn(value, 'model');
  const prompts = Object.keys(value).filter((name) => PROMPTS.has(name));
  return {
    kind: 'ok',
    model: !has ? { kind: 'absent' } : typeof model === 'string' ? { kind: 'string', value: model } : { kind: 'other' },
    stream: stream === true,
    background: more.background === true,
    previous: typeof more.previous_response_id === 'string' ? more.previous_response_id : undefined,
    prompted: prompts.length > 0,
  };
}

export function found(body: Uint8Array): unknown {
  const fields = scanBody(body);
  if (fields.kind !== 'ok') return { kind: fields.kind };
  const { model, stream, background, previous, prompt } = fields;
  return {
    kind: 'ok',
    model: model.kind === 'string' ? { kind: 'string', value: model.value } : { kind: model.kind },
    stream,
    background,
    previous,
    prompted: prompt !== undefined,
  };
}

export const PROMPTS = new Set(['messages', 'prompt', 'input']);

export const space = fc.constantFrom('', '', '', ' ', '\n', '\t \r\n');
const escapedOrNot = fc.string({ unit: 'grapheme', maxLength: 12 }).chain((text) =>
  fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }).map((escapes) => {
    const units = [...text].length === text.length ? [...text] : [text];
    const written = units.map((unit, i) =>
      escapes[i] && unit.length === 1
        ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
        : JSON.stringify(unit).slice(1, -1),
    );
    return `"${written.join('')}"`;
  }),
);
export const key = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.constantFrom('"background"', '"previous_response_id"', '"previous\\u005fresponse_id"', '"previous"'),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom('"model"', '"stream"', '"\\u006dodel"', '"m\\u006Fd\\u0065l"', '"str\\u0065am"'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('"messages"', '"prompt"', '"input"', '"\\u0069nput"', '"m\\u0065ssages"', '"prompts"'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('"mode"', '"models"', '"Model"', '"model\\u0000"', '""', '"__proto__"', '"\\"model"'),
  },
  { weight: 2, arbitrary: escapedOrNot },
);
const scalar = fc.oneof(
  escapedOrNot,
  fc.constantFrom('true', 'false', 'null', '0', '-0', '1.5e+10', '-12.25E-3', '1e9', '"my-model@5"', '"\\ud800"'),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
);
export const { object, value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalar, tie('array'), tie('object')),
  array: fc
    .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
    .map((items) => `[${items.map((item) => item.join('')).join(',') || ' '}]`),
  object: fc
    .array(fc.tuple(space, key, space, tie('value'), space), { maxLength: 5 })
    .map((all) => `{${all.map(([a, name, b, held, c]) => `${a}${name}${b}:${a}${held}${c}`).join(',') || ' '}}`),
}));
export const document = fc
  .tuple(space, fc.oneof({ weight: 6, arbitrary: object }, { weight: 1, arbitrary: value }), space)
  .map((parts) => Buffer.from(parts.join('')));

const MARKS = '"\\{}[]:,eE+-.0u\u0000\u001f\u007f';

export const bodies: Target = {
  name: 'bodies',
  promise:
    'of a body is found what JSON.parse finds, bytes that are no JSON are refused, and splicing changes nothing but the model',
  slice: 2_000,
  property: () =>
    fc.property(
      document,
      damaged(document, MARKS),
      fc.string({ unit: 'grapheme', maxLength: 9 }),
      (whole, near, name) => {
        for (const body of [whole, near]) {
          same(found(body), judged(body));
          const fields = scanBody(body);
          if (fields.kind !== 'ok' || fields.model.kind === 'other') continue;
          const { pieces, bytes } = spliceModel(body, fields.model, name);
          same(bytes, Buffer.concat(pieces).length);
          const more = appendMember(pieces, 'request_id', '"\u00e9"');
          const wanted = { ...JSON.parse(decoder.decode(body)), model: name };
          same(JSON.parse(decoder.decode(Buffer.concat(pieces))), wanted);
          same(JSON.parse(decoder.decode(Buffer.concat(more))), { ...wanted, request_id: '"\u00e9"' });
        }
      },
    ),
};
