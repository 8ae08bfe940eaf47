// Promise: `model`, `stream` and the prompt are what JSON.parse would find, whatever the body; and splicing changes the model's name only.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { appendMember, type BodyFields, DEPTH_MAX, scanBody, spliceModel } from '../../src/openai/body.ts';

const scan = (text: string): BodyFields => scanBody(Buffer.from(text));
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What JSON.parse says of the body, in the scanner's words, without offsets and messages. */
function judged(body: Uint8Array): unknown {
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

function found(body: Uint8Array): unknown {
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

const PROMPTS = new Set(['messages', 'prompt', 'input']);

/** JSON text of every writing: spaces, escapes that need not be, duplicate keys, odd numbers. */
const space = fc.constantFrom('', '', '', ' ', '\n', '\t \r\n');
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
const key = fc.oneof(
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
const { object, value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, scalar, tie('array'), tie('object')),
  array: fc
    .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
    .map((items) => `[${items.map((item) => item.join('')).join(',') || ' '}]`),
  object: fc
    .array(fc.tuple(space, key, space, tie('value'), space), { maxLength: 5 })
    .map((all) => `{${all.map(([a, name, b, held, c]) => `${a}${name}${b}:${a}${held}${c}`).join(',') || ' '}}`),
}));
const document = fc
  .tuple(space, fc.oneof({ weight: 6, arbitrary: object }, { weight: 1, arbitrary: value }), space)
  .map((parts) => Buffer.from(parts.join('')));
const mutated = fc
  .tuple(
    document,
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('"\\{}[]:,eE+-.0u\u0000'))),
        fc.constantFrom('set', 'insert', 'delete', 'cut'),
      ),
      { minLength: 1, maxLength: 3 },
    ),
  )
  .map(([bytes, edits]) => {
    let all = [...bytes];
    for (const [where, byte, edit] of edits) {
      const at = where % (all.length + 1);
      if (edit === 'cut') all = all.slice(0, at);
      else all.splice(at, edit === 'insert' ? 0 : 1, ...(edit === 'delete' ? [] : [byte]));
    }
    return Buffer.from(all);
  });

describe('scanBody', () => {
  test('finds what JSON.parse finds in any valid JSON', () => {
    fc.assert(
      fc.property(document, (body) => {
        expect(found(body)).toEqual(judged(body));
      }),
      { numRuns: 3000 },
    );
  });

  test('judges broken and half-broken bytes as JSON.parse does', () => {
    fc.assert(
      fc.property(mutated, (body) => {
        expect(found(body)).toEqual(judged(body));
      }),
      { numRuns: 5000 },
    );
  });

  test('says where the first of messages, prompt and input is, to the byte', () => {
    const member = fc.tuple(key, space, value, space);
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 6 }), (members) => {
        const text = `{${members.map(([name, before, held, after]) => `${name}:${before}${held}${after}`).join(',')}}`;
        const written = members.find(([name]) => PROMPTS.has(JSON.parse(name)))?.[2];
        const body = Buffer.from(text);
        const fields = scanBody(body);
        if (fields.kind !== 'ok') throw new Error(`not ok: ${text}`);
        const span = fields.prompt;
        expect(span && body.subarray(span.start, span.end).toString()).toBe(written);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['a nested model is none of ours', '{"metadata":{"model":"x","stream":true},"messages":[{"model":"y"}]}'],
    ['an escaped key counts', '{"\\u006dodel":"a","str\\u0065am":true}'],
    [
      'of duplicates the last wins, even when it is of another kind',
      '{"model":"a","stream":true,"model":7,"stream":false}',
    ],
    ['stream must be the literal true', '{"model":"a","stream":1}'],
    ['invalid UTF-8 in the name is replaced', Buffer.from('7b226d6f64656c223a22ff22 7d'.replace(' ', ''), 'hex')],
    ['a BOM is no JSON', '\uFEFF{"model":"a"}'],
    ['a raw newline in a string is no JSON', '{"model":"a\nb"}'],
    ['a trailing comma is no JSON', '{"model":"a",}'],
    ['two documents are no JSON', '{"model":"a"}{"model":"b"}'],
    ['NaN is no JSON', '{"model":"a","temperature":NaN}'],
    ['an array is no object', '[{"model":"a"}]'],
    ['nothing is no JSON', ''],
  ])('%s', (_, body) => {
    expect(found(Buffer.from(body))).toEqual(judged(Buffer.from(body)));
  });

  test('every byte on its own, inside a string and after a backslash, is judged as JSON.parse does', () => {
    for (let byte = 0; byte < 256; byte++)
      for (const before of ['', '\\']) {
        const body = Buffer.concat([Buffer.from(`{"model":"a${before}`), Buffer.of(byte), Buffer.from('"}')]);
        expect({ byte, before, judged: found(body) }).toEqual({ byte, before, judged: judged(body) });
      }
  });

  test('says where the JSON breaks', () => {
    expect(scan('{"model" "a"}')).toEqual({ kind: 'notJson', message: 'no JSON at byte 9: unexpected `"`' });
    expect(scan('{"model":"a"')).toEqual({ kind: 'notJson', message: 'the JSON ends too early, after 12 bytes' });
  });

  test('nesting deeper than the bound is refused, and a million brackets overflow nothing', () => {
    const nested = (depth: number) => `{"model":"a","x":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    expect(scan(nested(DEPTH_MAX)).kind).toBe('ok');
    const deep = scan(nested(DEPTH_MAX + 1));
    expect(deep).toMatchObject({ kind: 'notJson', message: expect.stringContaining(`deeper than ${DEPTH_MAX}`) });
    expect(scan('['.repeat(1_000_000)).kind).toBe('notJson');
  });

  test('reads a view into a larger buffer', () => {
    const whole = Buffer.from('xx{"model":"my-model@5"}xx');
    expect(found(whole.subarray(2, -2))).toEqual({
      kind: 'ok',
      model: { kind: 'string', value: 'my-model@5' },
      stream: false,
      background: false,
      previous: undefined,
      prompted: false,
    });
  });
});

describe('appendMember', () => {
  test('whatever the body, JSON.parse finds the appended member and all others as they were', () => {
    const objects = document.filter((body) => {
      const fields = scanBody(body);
      return fields.kind === 'ok' && fields.model.kind !== 'other';
    });
    fc.assert(
      fc.property(objects, fc.constantFrom('model', 'request_id'), (body, name) => {
        const fields = scanBody(body);
        if (fields.kind !== 'ok') throw new Error('unreachable');
        const pieces = spliceModel(body, fields.model, 'm').pieces;
        const more = JSON.parse(Buffer.concat(appendMember(pieces, name, '"\u00e9"')).toString());
        expect(more).toEqual({ ...JSON.parse(body.toString()), model: 'm', [name]: '"\u00e9"' });
      }),
    );
  });
});

describe('spliceModel', () => {
  const splice = (body: Buffer, name: string): Buffer => {
    const fields = scanBody(body);
    if (fields.kind !== 'ok') throw new Error('the test needs a JSON object');
    const { pieces, bytes } = spliceModel(body, fields.model, name);
    const joined = Buffer.concat(pieces);
    expect(bytes).toBe(joined.length);
    return joined;
  };

  test('replaces the name and leaves every other byte as it was', () => {
    const body = Buffer.from('{ "a" : 1.0, "model" :\t"my-m\\u006fdel" , "b":"\u00e9" }');
    expect(splice(body, 'my-model@5').toString()).toBe('{ "a" : 1.0, "model" :\t"my-model@5" , "b":"\u00e9" }');
  });

  test('inserts the name where there is none', () => {
    expect(splice(Buffer.from('{"prompt":"x"}'), 'base').toString()).toBe('{"model":"base","prompt":"x"}');
    expect(splice(Buffer.from('{ }'), 'base').toString()).toBe('{"model":"base" }');
  });

  test('copies nothing of the body', () => {
    const body = Buffer.from('{"prompt":"a long one","model":"a"}');
    const fields = scanBody(body);
    if (fields.kind !== 'ok') throw new Error('unreachable');
    expect(spliceModel(body, fields.model, 'b').pieces[0]?.buffer).toBe(body.buffer);
    expect(spliceModel(body, fields.model, 'a').pieces).toEqual([body]);
  });

  test('whatever the body and the name, only the model differs afterwards', () => {
    const objects = document.filter((body) => {
      const fields = scanBody(body);
      return fields.kind === 'ok' && fields.model.kind !== 'other';
    });
    fc.assert(
      fc.property(objects, fc.string({ unit: 'grapheme' }), (body, name) => {
        expect(JSON.parse(splice(body, name).toString())).toEqual({ ...JSON.parse(body.toString()), model: name });
      }),
    );
  });
});
