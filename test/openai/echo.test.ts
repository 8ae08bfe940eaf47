// Promise: the caller reads the name it was promised in every `model` of the answer, nothing else changes, and nothing waits for long.
// Any JSON, and what is only like it, cut anywhere: test/fuzz/streams.ts.
import { describe, expect, test } from 'vitest';
import { Echo, echoOf } from '../../src/openai/echo.ts';
import { cutAt } from '../fuzz/damage.ts';
import { FROM, rewrite, TO } from '../fuzz/streams.ts';

describe('Echo', () => {
  test('works on a stream of events, whichever byte it is cut at', () => {
    const event = (model: string) =>
      `data: {"id":"1","model":"${model}","choices":[{"delta":{"content":"\\"model\\":"}}]}\n\n`;
    const bytes = Buffer.from(event(FROM).repeat(3));
    for (let at = 0; at <= bytes.length; at++) expect(rewrite(cutAt(bytes, [at])).toString()).toBe(event(TO).repeat(3));
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

describe('Echo of an engine that names the model as it likes', () => {
  const renamed = (pieces: readonly Buffer[]): string => {
    const echo = new Echo(undefined, TO);
    return Buffer.concat([...pieces.map((piece) => echo.push(piece)), echo.end()]).toString();
  };
  const event = (model: string) =>
    `data: {"id":"1","model":${model},"choices":[{"delta":{"content":"\\"model\\":\\"x\\""}}]}\n\n`;

  test.each(['"null"', '"a/b#c"', '""', '"with \\"quotes\\" and \\\\"', '"ünïcödé"'])(
    'puts ours in the place of %s, whichever byte it is cut at',
    (model) => {
      const bytes = Buffer.from(event(model).repeat(2));
      const wanted = event(JSON.stringify(TO)).repeat(2);
      for (let at = 0; at <= bytes.length; at++) expect(renamed(cutAt(bytes, [at]))).toBe(wanted);
      expect(renamed([...bytes].map((byte) => Buffer.of(byte)))).toBe(wanted);
      expect(renamed([Buffer.from(event(` ${model}`))])).toBe(event(JSON.stringify(TO)));
    },
  );

  test('what is no text stays, and so does what is too long for a name; what is held back is bounded', () => {
    for (const model of ['null', '{"model_info":1}', '5'])
      expect(renamed([Buffer.from(event(model))])).toBe(event(model));
    const endless = `{"model":"${'x'.repeat(100_000)}`;
    const echo = new Echo(undefined, TO);
    let out = 0;
    for (const byte of Buffer.from(endless)) out += echo.push(Buffer.of(byte)).length;
    expect(out).toBeGreaterThan(90_000);
  });
});
