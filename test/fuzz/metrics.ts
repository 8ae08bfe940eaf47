// What engines say of themselves: their metrics (Prometheus text), and their refusals and errors in any shape.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { DRIVERS } from '../../src/backends/drivers.ts';
import { declares, seriesOf } from '../../src/backends/prometheus.ts';
import { readRefusal as sglangRefusal } from '../../src/backends/sglang-refusals.ts';
import { messageOf, readRefusal } from '../../src/backends/vllm-refusals.ts';
import { type Adapter, type AdapterId, as, type Digest } from '../../src/domain.ts';
import { engineError } from '../../src/openai/engine-error.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

const FAMILIES = [
  'vllm:num_requests_running',
  'vllm:num_requests_running_total',
  'vllm:lora_requests_info',
  'up',
] as const;
const text = fc.string({
  unit: fc.constantFrom('a', '"', '\\', '\n', '}', '{', ',', '=', ' ', '1', 'é'),
  maxLength: 8,
});
const series = fc.record({
  family: fc.constantFrom(...FAMILIES),
  labels: fc.dictionary(fc.constantFrom('max_lora', 'engine', '_x', 'b1'), text, { noNullPrototype: true }),
  value: fc.oneof(fc.double(), fc.nat(99)),
  at: fc.option(fc.integer(), { nil: undefined }),
});
type Series = typeof series extends fc.Arbitrary<infer T> ? T : never;

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
function written({ family, labels, value, at }: Series): string {
  const escaped = (held: string) => held.replace(/[\\"\n]/g, (one) => (one === '\n' ? '\\n' : `\\${one}`));
  const all = Object.entries(labels).map(([name, held]) => `${name}="${escaped(held)}"`);
  const number = Number.isFinite(value)
    ? `${Object.is(value, -0) ? '-0' : value}`
    : Number.isNaN(value)
      ? 'NaN'
      : value > 0
        ? '+Inf'
        : '-Inf';
  return `${family}${all.length > 0 ? `{${all.join(',')}}` : ''} ${number}${at === undefined ? '' : ` ${at}`}`;
}
const line = fc.oneof(
  series.map((one) => ({ one, text: written(one) })),
  fc
    .constantFrom('', '# HELP up text up 5', '# TYPE up gauge', ' up 7', 'upper 3')
    .map((comment) => ({ one: undefined, text: comment })),
);
const page = fc.array(line, { maxLength: 6 });

export const metrics: Target = {
  name: 'metrics',
  promise:
    'the series of a family are those that were written, whatever their labels hold; of a broken text all that is read is finite',
  slice: 3_000,
  property: () =>
    fc.property(
      page,
      damagedText(
        page.map((lines) => lines.map((one) => one.text).join('\n')),
        '{}",=\\ \n',
      ),
      (lines, near) => {
        const whole = `${lines.map((one) => one.text).join('\n')}\n`;
        for (const family of FAMILIES) {
          const wanted = lines.flatMap(({ one }) =>
            one?.family === family && Number.isFinite(one.value)
              ? { labels: new Map(Object.entries(one.labels)), value: one.value }
              : [],
          );
          same(seriesOf(whole, family), wanted);
          for (const { value, labels } of seriesOf(near, family)) ok(Number.isFinite(value) && labels.size < 10);
        }
        same(
          declares(whole, 'up'),
          lines.some((one) => one.text === '# TYPE up gauge'),
        );
      },
    ),
};

const words = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.constantFrom(
    "Worker failed with error 'LoRA rank 64 is greater than max_lora_rank 16.', please check the stack trace",
    'The model `my-model@5` does not exist.',
    'No adapter found for /x',
    'Not Found',
    "Worker failed with error '",
    "', please check",
  ),
);
const { body } = fc.letrec<{ body: unknown; inner: unknown }>((tie) => ({
  inner: fc.oneof(words, fc.constant(null), fc.integer(), tie('body')),
  body: fc.oneof(
    { maxDepth: 3 },
    fc.record({ error: tie('inner') }),
    fc.record(
      { message: tie('inner'), type: tie('inner'), code: tie('inner'), param: tie('inner') },
      { requiredKeys: ['message'] },
    ),
    fc.record({ detail: tie('inner') }),
  ),
}));
const answerText = fc.oneof(
  words,
  body.map((value) => JSON.stringify(value)),
  damagedText(
    body.map((value) => JSON.stringify(value)),
    '"{}[]:,\'',
  ),
);
const DIALECTS = Object.values(DRIVERS).map((create) =>
  create({ url: 'http://engine', dispatcher: {} as never, pathFor: (path) => path }),
);

export const ADAPTER: Adapter = {
  id: as<AdapterId>('my-model@5'),
  path: '/store/x',
  digest: as<Digest>('0'.repeat(64)),
  bytes: 1,
  rank: 4,
};
const MESSAGE_CHARS_MAX = 303;

export const refusals: Target = {
  name: 'refusals',
  promise:
    "whatever an engine answers, it is one short line for people, a fault of one of two, and an error of OpenAI's shape",
  slice: 3_000,
  property: () =>
    fc.property(
      answerText,
      fc.constantFrom('application/json', 'text/html', ''),
      fc.integer({ min: 100, max: 599 }),
      (said, type, status) => {
        const answer = { status, type, text: said };
        const message = messageOf(answer);
        ok(message.length > 0 && message.length <= MESSAGE_CHARS_MAX && !/[\r\n]/.test(message), message);
        const { fault, message: why } = readRefusal(answer, ADAPTER);
        ok((fault === 'adapter' || fault === 'backend') && why.length > 0);
        const refused = sglangRefusal(answer, ADAPTER);
        ok((refused.fault === 'adapter' || refused.fault === 'backend') && refused.message.length > 0);
        const error = engineError(said, status);
        for (const { unknownModel } of DIALECTS) ok(typeof unknownModel.says(error, status) === 'boolean');
        ok(
          typeof error.message === 'string' &&
            typeof error.type === 'string' &&
            ['string', 'number'].includes(typeof error.code),
        );
      },
    ),
};
