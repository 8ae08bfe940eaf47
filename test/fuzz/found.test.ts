// What fuzzing found, each once: inputs of others that ended, stopped or misled the gateway. Where a reader took the square of the length, its
// input here is so long that it would run for hours.
import { expect, test } from 'vitest';
import { withoutSecrets } from '../../src/access/secret.ts';
import { seriesOf } from '../../src/backends/prometheus.ts';
import { messageOf } from '../../src/backends/vllm-refusals.ts';
import { printable } from '../../src/cli/terminal.ts';
import { ConfigError, parseConfig } from '../../src/config.ts';
import { answerId, placeOf } from '../../src/openai/answer-id.ts';
import { headerText } from '../../src/openai/header-text.ts';
import { parsePythonJson } from '../../src/registry/metadata.ts';
import { preflight } from '../../src/registry/preflight.ts';
import { judgeSafetensors } from '../../src/registry/safetensors.ts';
import { rewrite } from './streams.ts';
import { asFile } from './weights.ts';

const MANY = 4_000_000;

test("an engine's metrics with a label that never ends are read as far as they can be", () => {
  const endless = `up{${'a'.repeat(MANY)}} 1\nup{a="1"} 2\n`;
  expect(seriesOf(endless, 'up')).toEqual([
    { labels: new Map(), value: 1 },
    { labels: new Map([['a', '1']]), value: 2 },
  ]);
  const short = `up{${'a'.repeat(60_000)}} 1\n`;
  for (let again = 0; again < 100; again++) expect(seriesOf(short, 'up')).toHaveLength(1);
});

test("an engine's refusal that begins a million times and never ends is cut to a line", () => {
  const text = "Worker failed with error '".repeat(MANY / 26);
  expect(messageOf({ status: 500, type: 'text/plain', text })).toHaveLength(303);
});

test('what is wrapped is unwrapped, to the last end of it', () => {
  const text = "x Worker failed with error 'a', please check b', please check the log";
  expect(messageOf({ status: 500, type: '', text })).toBe("a', please check b");
});

test("a trainer's state with a string that never ends, or never seems to, is refused or read", () => {
  expect(() => parsePythonJson(`{"a": NaN, "b": "${'\\"'.repeat(MANY)}`)).toThrow(SyntaxError);
  expect(parsePythonJson(`{"a": NaN, "b": "${'x'.repeat(4 * MANY)}"}`)).toMatchObject({ a: null });
});

test('a tensor of a million parts is judged', () => {
  const tensor = { dtype: 'F32', shape: [4, 4], begin: 0, end: 64 };
  const module = 'a.'.repeat(MANY / 4);
  const verdict = preflight({
    config: { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj'] },
    tensors: new Map(['A', 'B'].map((half) => [`${module}lora_${half}.weight`, tensor])),
    pickle: undefined,
    architecture: undefined,
  });
  expect(verdict.kind).toBe('servable');
});

test.each<[string, string, RegExp]>([
  ['a tensor whose bytes are not those of its shape', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}}', /size/],
  ['a header that is not UTF-8', '{"\x80":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}', /UTF-8/],
])('no engine would load %s', async (_, header, about) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const bytes = Buffer.concat([length, Buffer.from(header, 'latin1'), Buffer.alloc(2)]);
  expect(await judgeSafetensors(asFile(bytes))).toMatchObject({ kind: 'broken', about: expect.stringMatching(about) });
});

test.each<[string, string, RegExp]>([
  ['a key that every object inherits belongs nowhere', 'constructor: 1', /^config:1:1: constructor: unknown key; take/],
  ['nor does it in a section', 'limits: { toString: 1 }', /^config:1:11: limits.toString: unknown key; take/],
  ['a model that no object can hold', 'models: { __proto__: {} }', /^config:1:11: __proto__: /],
  ['a key of two lines', '"a\\nb": 1', /^config:1:1: "a\\nb": unknown key; .*$/],
  ['a key that would move the cursor', '"a\\x9bb": 1', /^config:1:1: a\\u009bb: unknown key; .*$/],
  ['a number too large in two ways is told once', 'limits: { queueMax: 1e99 }', /^config:1:11: limits.queueMax: .*$/],
])('of a config: %s', (_, text, wanted) => {
  let problems: readonly string[] = [];
  try {
    parseConfig(text, { file: undefined });
  } catch (error) {
    if (error instanceof ConfigError) problems = error.problems;
  }
  expect(problems).toEqual([expect.stringMatching(wanted)]);
});

test('two matches that share a quote, in what is no JSON, double nothing', () => {
  const model = '"model":"my-model@5-1a2b3c4d"';
  expect(rewrite([Buffer.from(`${model}model":"my-model@5-1a2b3c4d"`)]).toString()).toBe(
    '"model":"my-model@5"model":"my-model@5-1a2b3c4d"',
  );
});

test('the id of an answer of the longest names leads to it', () => {
  const place = { backend: 'b'.repeat(63), from: `${'名'.repeat(200)}-${'0'.repeat(64)}`, to: '名'.repeat(200) };
  expect(placeOf(answerId(place))).toEqual(place);
});

test('of two keys without a space between them both secrets are taken out', () => {
  const key = `sg_${'0'.repeat(12)}.${'s'.repeat(43)}`;
  expect(withoutSecrets(`${key}${key} x`)).toBe(`sg_${'0'.repeat(12)}.*** x`);
});

test.each([
  ['my-model@5', 'my-model@5'],
  ['имя@1', '%D0%B8%D0%BC%D1%8F@1'],
  ['100% é', '100%25 %C3%A9'],
  ['a\r\nx: y', 'a%0D%0Ax: y'],
  ['\ud800', '%EF%BF%BD'],
])('the name %j can be written into a header', (name, text) => expect(headerText(name)).toBe(text));

test.each([
  ['colours stay', '\x1b[31mred\x1b[0m\tb\n', '\x1b[31mred\x1b[0m\tb\n'],
  ['a title, a cursor, a bell', '\x1b]0;x\x07 \x1b[2J \x9b1A \r', '\ufffd]0;x\ufffd \ufffd[2J \ufffd1A \ufffd'],
])('on a terminal %s', (_, text, shown) => expect(printable(text)).toBe(shown));
