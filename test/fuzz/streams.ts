// Answers of engines as they stream by: events, JSON, and bytes that only look like it, cut anywhere.
import fc from 'fast-check';
import { Echo } from '../../src/openai/echo.ts';
import { cutAt, damagedText, places } from './damage.ts';
import { same, type Target } from './target.ts';

export const FROM = 'my-model@5-1a2b3c4d';
export const TO = 'my-model@5';

/** The stream as the caller gets it. */
export function rewrite(chunks: readonly Buffer[], from = FROM, to = TO): Buffer {
  const echo = new Echo(from, to);
  return Buffer.concat([...chunks.map((chunk) => echo.push(chunk)), echo.end()]);
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
    { maxDepth: 3 },
    tricky,
    fc.string({ maxLength: 5 }),
    fc.integer(),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(key, fc.oneof(fc.constant(FROM), tie('value')), { maxKeys: 4, noNullPrototype: true }),
}));
/** As pydantic writes it, and as Python's json.dumps does: with spaces. */
const writings = [
  (held: unknown) => JSON.stringify(held),
  (held: unknown) => JSON.stringify(held, null, 1).replace(/\n */g, ''),
];

/** No stream of any engine: what a rewriter of bytes could take for one. */
const names = fc.constantFrom(FROM, 'm', 'имя@1', 'a"b', 'a\\b');
const lookalike = (from: string) => {
  const whole = [`"model":${JSON.stringify(from)}`, `"model": ${JSON.stringify(from)}`];
  const pieces = [
    ...whole,
    ...whole.map((text) => text.slice(0, -1)),
    '"model":',
    '"mod',
    '"',
    '\\',
    '\\"',
    ' ',
    'data: ',
    '\n\n',
  ];
  return fc.array(fc.constantFrom(...pieces), { maxLength: 10 }).map((all) => all.join(''));
};
const noise = names.chain((from) => fc.tuple(fc.constant(from), damagedText(lookalike(from), '"\\: m')));

/** The rule of echo.ts as one pattern over the whole. */
function wholly(text: string, from: string): string {
  const escaped = JSON.stringify(from).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  return text.replace(new RegExp(`(?<!\\\\)"model": ?${escaped}`, 'g'), () => `"model":${JSON.stringify(TO)}`);
}

export const streams: Target = {
  name: 'streams',
  promise: "every real `model` of an answer is renamed, nothing else changes, and the chunks' ends make no difference",
  slice: 4_000,
  property: () =>
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...writings),
      noise,
      places,
      (held, write, [from, text], at) => {
        const events = Buffer.from(held.map((one) => `data: ${write(one)}\n\n`).join(''));
        const told = rewrite(cutAt(events, at)).toString().split('\n\n').slice(0, -1);
        same(
          told.map((line) => JSON.parse(line.slice('data: '.length))),
          held.map((one) => renamed(JSON.parse(JSON.stringify(one)))),
        );
        same(rewrite(cutAt(Buffer.from(text), at), from, TO).toString(), wholly(text, from));
      },
    ),
};
