// Promise: the caller reads the name it was promised in every `model` of the answer, nothing else changes, and nothing waits for long.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Echo, echoOf } from '../../src/openai/echo.ts';

const FROM = 'my-model@5-1a2b3c4d';
const TO = 'my-model@5';

function rewrite(chunks: readonly Buffer[], from = FROM, to = TO): Buffer {
  const echo = new Echo(from, to);
  return Buffer.concat([...chunks.map((chunk) => echo.push(chunk)), echo.end()]);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

/** The same value with every `model` that is `FROM` renamed. */
function renamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, held]) => [key, key === 'model' && held === FROM ? TO : renamed(held)]),
  );
}

const tricky = fc.constantFrom(
  FROM,
  `"model":"${FROM}"`,
  `"model": "${FROM}`,
  '"model":',
  'model',
  `\\"model":"${FROM}"`,
  '\\',
);
const key = fc.oneof(fc.constantFrom('model', 'model', '"model', '\\"model', 'x'), fc.string({ maxLength: 3 }));
const { value } = fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    tricky,
    fc.string({ maxLength: 5 }),
    fc.integer(),
    fc.array(tie('value')),
    tie('object'),
  ),
  object: fc.dictionary(key, fc.oneof(fc.constant(FROM), tie('value')), { maxKeys: 4, noNullPrototype: true }),
}));

/** As pydantic writes it, and as Python's json.dumps does: with spaces, and nothing but ASCII. */
const writings = [
  (held: unknown) => JSON.stringify(held),
  (held: unknown) => JSON.stringify(held, null, 1).replace(/\n */g, ''),
];

describe('Echo', () => {
  test('renames every real `model` of any JSON, cut anywhere, and touches nothing else', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(...writings), fc.array(fc.nat(), { maxLength: 6 }), (held, write, places) => {
        const text = rewrite(cut(Buffer.from(write(held)), places)).toString();
        expect(JSON.parse(text)).toEqual(renamed(held));
      }),
      { numRuns: 3000 },
    );
  });

  test('works on a stream of events, whichever byte it is cut at', () => {
    const event = (model: string) =>
      `data: {"id":"1","model":"${model}","choices":[{"delta":{"content":"\\"model\\":"}}]}\n\n`;
    const bytes = Buffer.from(event(FROM).repeat(3));
    for (let at = 0; at <= bytes.length; at++) expect(rewrite(cut(bytes, [at])).toString()).toBe(event(TO).repeat(3));
    expect(rewrite([...bytes].map((byte) => Buffer.of(byte))).toString()).toBe(event(TO).repeat(3));
  });

  test('text that the model generated cannot be taken for the answer’s own field', () => {
    const answer = JSON.stringify({ model: 'other', content: `{"model":"${FROM}"}` });
    expect(rewrite([Buffer.from(answer)]).toString()).toBe(answer);
  });

  test('a name that only begins like ours is another name', () => {
    const answer = JSON.stringify({ model: `${FROM}0`, parent: { model: FROM.slice(0, -1) } });
    expect(rewrite([Buffer.from(answer)]).toString()).toBe(answer);
  });

  test('an event goes out with the chunk that completed it: nothing that cannot become a match is held', () => {
    const echo = new Echo(FROM, TO);
    const event = Buffer.from(`data: {"model":"${FROM}","x":1}\n\n`);
    expect(echo.push(event).toString()).toBe(`data: {"model":"${TO}","x":1}\n\n`);
    expect(echo.push(Buffer.from('data: {"mod')).toString()).toBe('data: {');
    expect(echo.push(Buffer.from('est":1}\n\n')).toString()).toBe('"modest":1}\n\n');
    expect(echo.end()).toHaveLength(0);
  });

  test('a chunk without a match is passed on without a copy', () => {
    const chunk = Buffer.from('data: {"choices":[]}\n\n');
    expect(new Echo(FROM, TO).push(chunk).buffer).toBe(chunk.buffer);
  });

  test('equal names need no rewriter at all', () => {
    expect(echoOf({ from: TO, to: TO })).toBeUndefined();
    expect(echoOf({ from: FROM, to: TO })).toBeInstanceOf(Echo);
  });
});
