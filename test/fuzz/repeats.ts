// Pieces of each format, repeated: what a reader of texts from elsewhere costs must grow as the text does. The clock is the process's own time,
// which other processes do not move; a reader that takes the square of the length is over its bound a hundred times.
import { ok } from 'node:assert/strict';
import process from 'node:process';
import fc from 'fast-check';
import { seriesOf } from '../../src/backends/prometheus.ts';
import { messageOf, readRefusal } from '../../src/backends/vllm-refusals.ts';
import { scanBody } from '../../src/openai/body.ts';
import { engineError } from '../../src/openai/engine-error.ts';
import { boundaryOf, FormScanner } from '../../src/openai/form.ts';
import { metricsIn, parsePythonJson } from '../../src/registry/metadata.ts';
import { parseName, parseVersion } from '../../src/registry/name.ts';
import { preflight } from '../../src/registry/preflight.ts';
import { parseHeader } from '../../src/registry/safetensors.ts';
import { ADAPTER } from './metrics.ts';
import { rewrite } from './streams.ts';
import type { Target } from './target.ts';

/** Linear readers take a hundredth of it. */
const CPU_MS_MAX = 500;
const CHARS = 60_000;

const attempt = (read: () => unknown): unknown => {
  try {
    return read();
  } catch {
    // A refusal; only its price is asked for here.
    return undefined;
  }
};
const answer = (text: string) => ({ status: 500, type: '', text });
const CONFIG = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj'] };

const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  'series in a line': (text) => seriesOf(`up{${text}} 1\n`, 'up'),
  series: (text) => seriesOf(text, 'up'),
  message: (text) => messageOf(answer(text)),
  refusal: (text) => readRefusal(answer(text), ADAPTER),
  error: (text) => engineError(text, 500),
  'python json': (text) => parsePythonJson(`{"a": NaN, "b": "${text}`),
  metrics: (text) => metricsIn(text, 5),
  name: (text) => [parseName(text), parseVersion(text)],
  header: (text) => parseHeader(text),
  body: (text) => scanBody(Buffer.from(text)),
  boundary: (text) => boundaryOf(`multipart/form-data; ${text}`),
  form: (text) => new FormScanner('b').push(Buffer.from(`--b\r\n${text}`)),
  stream: (text) => rewrite([Buffer.from(text)]),
  tensors: (text) =>
    preflight({
      config: CONFIG,
      tensors: new Map(
        ['A', 'B'].map((half) => [`${text}.lora_${half}.weight`, { dtype: 'F32', shape: [4, 4], begin: 0, end: 64 }]),
      ),
      pickle: undefined,
      architecture: undefined,
    }),
};

const mark = fc.constantFrom(
  ...[
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    '\\"',
    '=',
    ',',
    ':',
    ' ',
    '\n',
    '\r\n',
    '-',
    '.',
    ';',
    '@',
    '<',
    '1',
    'a',
    '_',
    'NaN',
  ],
  ...[
    '{"a',
    'a="',
    '="',
    '"model":"',
    '--b',
    '\r\n--b',
    'up{',
    '-v1',
    "Worker failed with error '",
    'step',
    'é',
    '- PEFT 1',
    'experts',
    '/*',
  ],
);

export const repeats: Target = {
  name: 'repeats',
  promise: 'no text of 60 kB holds up the process for half a second, whatever it repeats, and whoever reads it',
  slice: 3_000,
  property: () =>
    fc.property(
      fc.constantFrom(...Object.keys(READERS)),
      fc.array(mark, { minLength: 1, maxLength: 3 }),
      fc.array(mark, { maxLength: 2 }),
      (reader, piece, end) => {
        const once = piece.join('');
        const text = once.repeat(CHARS / once.length) + end.join('');
        const before = process.cpuUsage();
        attempt(() => READERS[reader]?.(text));
        const { user, system } = process.cpuUsage(before);
        ok((user + system) / 1000 < CPU_MS_MAX, `${reader}: ${(user + system) / 1000} ms`);
      },
    ),
};
