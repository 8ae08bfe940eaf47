// Promise: `model`, `stream` and the prompt are what JSON.parse would find; and splicing changes the model's name only. Random bodies, whole and
// broken, are fuzz/bodies.ts.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BodyFields, DEPTH_MAX, scanBody, spliceModel } from '../../src/openai/body.ts';
import { found, judged, key, PROMPTS, space, value } from '../fuzz/bodies.ts';

const scan = (text: string): BodyFields => scanBody(Buffer.from(text));

describe('scanBody', () => {
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
});
