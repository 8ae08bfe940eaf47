// Directories as trainers leave them: configs, weights, states, whole and damaged. Read from a disk, and judged as a registration would be.
import { ok } from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { inspect } from '../../src/registry/inspect.ts';
import { hf } from '../../src/registry/layouts/hf.ts';
import { metricsIn, parsePythonJson } from '../../src/registry/metadata.ts';
import { preflight, type Verdict } from '../../src/registry/preflight.ts';
import { damaged, damagedText } from './damage.ts';
import { same, type Target } from './target.ts';
import { fileOf } from './weights.ts';

const MODULES = ['q_proj', 'k_proj', 'mlp.up_proj'] as const;
interface Adapter {
  readonly r: number;
  readonly modules: readonly string[];
  readonly pattern: number | undefined;
}
/** One that engines serve: `pattern` is the rank of its first module, where that differs. */
const good: fc.Arbitrary<Adapter> = fc.record({
  r: fc.integer({ min: 1, max: 8 }),
  modules: fc.subarray([...MODULES], { minLength: 1 }),
  pattern: fc.option(fc.integer({ min: 1, max: 16 }), { nil: undefined }),
});

const configOf = ({ r, modules, pattern }: Adapter): string =>
  JSON.stringify({
    peft_type: 'LORA',
    r,
    lora_alpha: 2 * r,
    target_modules: modules,
    bias: 'none',
    rank_pattern: pattern === undefined ? {} : { [modules[0] ?? '']: pattern },
  });

const weightsOf = ({ r, modules, pattern }: Adapter): Buffer =>
  fileOf(
    modules.flatMap((module, index) => {
      const rank = index === 0 ? (pattern ?? r) : r;
      const name = `base_model.model.model.layers.0.${module}`;
      return [
        { name: `${name}.lora_A.weight`, dtype: 'BF16', shape: [rank, 2] },
        { name: `${name}.lora_B.weight`, dtype: 'BF16', shape: [3, rank] },
      ];
    }),
    { format: 'pt' },
  );

const rankOf = ({ r, pattern }: Adapter) => Math.max(r, pattern ?? 0);

/** Other values for each key, by the dozen: PEFT grows, and people write by hand. */
const anything = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', 'all', 0, -1, 1.5, 1e300, [], {}, ['q_proj'], { q_proj: 0 }),
  fc.jsonValue({ maxDepth: 1 }),
);
const otherConfig = fc
  .dictionary(
    fc.constantFrom(
      'peft_type',
      'r',
      'lora_alpha',
      'target_modules',
      'rank_pattern',
      'bias',
      'use_dora',
      'modules_to_save',
      'init_lora_weights',
      'base_model_name_or_path',
      '__proto__',
    ),
    anything,
    { maxKeys: 4, noNullPrototype: true },
  )
  .map((changes) =>
    JSON.stringify({ ...JSON.parse(configOf({ r: 4, modules: ['q_proj'], pattern: undefined })), ...changes }),
  );

const wholeFiles = good.map((adapter) => ({ config: configOf(adapter), weights: weightsOf(adapter), adapter }));
type Files = {
  readonly config: string | undefined;
  readonly weights: Buffer | undefined;
  readonly more: string | undefined;
};
const oddFiles: fc.Arbitrary<Files> = fc.record({
  config: fc.option(fc.oneof(otherConfig, damagedText(good.map(configOf), '{}[]",:0189')), { nil: undefined, freq: 9 }),
  weights: fc.option(fc.oneof(good.map(weightsOf), damaged(good.map(weightsOf), '{}[]",:0189\0')), {
    nil: undefined,
    freq: 9,
  }),
  more: fc.option(fc.constantFrom('adapter_model.bin', 'config.json', 'README.md'), { nil: undefined }),
});

/** Inspected and judged, from a fresh directory. */
async function judged(dir: string, { config, weights, more }: Files): Promise<Verdict | 'incomplete'> {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  if (config !== undefined) writeFileSync(join(dir, 'adapter_config.json'), config);
  if (weights !== undefined) writeFileSync(join(dir, 'adapter_model.safetensors'), weights);
  if (more !== undefined) writeFileSync(join(dir, more), '{"architectures": ["X"], "transformers_version": 5}');
  const inspection = await inspect(dir);
  if (inspection.kind === 'whole') return preflight(inspection.contents);
  ok(/^.+\.$/s.test(inspection.missing), inspection.missing);
  return 'incomplete';
}

/** What should be made of them: the rank with which they are served, not complete, or undefined: anything that is said in sentences. */
type Case = { readonly files: Files; readonly wanted: number | 'incomplete' | undefined };
const directory: fc.Arbitrary<Case> = fc.oneof(
  wholeFiles.map(({ adapter, ...files }) => ({ files: { ...files, more: undefined }, wanted: rankOf(adapter) })),
  fc.tuple(wholeFiles, fc.nat(), fc.boolean()).map(([{ config, weights }, cut, isConfig]): Case => {
    const files = isConfig
      ? { config: config.slice(0, cut % config.length), weights, more: undefined }
      : { config, weights: weights.subarray(0, cut % weights.length), more: undefined };
    return { files, wanted: 'incomplete' };
  }),
  { weight: 3, arbitrary: oddFiles.map((files) => ({ files, wanted: undefined })) },
);

export const adapters: Target = {
  name: 'adapters',
  promise:
    'a whole adapter is servable with its rank, one that is cut short never is, and of any other directory a sentence says what is wrong',
  slice: 600,
  property: (scratch) =>
    fc.asyncProperty(directory, async ({ files, wanted }) => {
      const dir = join(scratch, 'adapter');
      const verdict = await judged(dir, files);
      const found = typeof verdict === 'object' && verdict.kind === 'servable' ? verdict.rank : verdict;
      if (wanted !== undefined) same(found, wanted);
      if (verdict === 'incomplete') return;
      const said = verdict.kind === 'servable' ? verdict.warnings : verdict.reasons;
      ok(verdict.kind === 'servable' ? Number.isSafeInteger(verdict.rank) && verdict.rank >= 1 : said.length > 0);
      ok(said.every((sentence) => sentence.length > 0));
      await hf.details(dir, 5);
    }),
};

const number = fc.oneof(fc.double(), fc.integer());
const metric = fc.constantFrom('loss', 'eval_loss', 'epoch', 'a"b', 'NaN', 'a\\', '__proto__', 'constructor');
const row = fc.record({
  step: fc.nat(20),
  values: fc.dictionary(metric, number, { maxKeys: 3, noNullPrototype: true }),
});

/** As Python's json.dumps writes numbers that JSON has not. */
const python = (value: number): string => (Object.is(value, -0) ? '-0.0' : String(value).replace('e+', 'e'));
const rowText = ({ step, values }: { step: number; values: Record<string, number> }) =>
  `{${[...Object.entries(values).map(([name, value]) => `${JSON.stringify(name)}: ${python(value)}`), `"step": ${step}`].join(', ')}}`;

/** For each metric, the last of the rows with the greatest step that has it. */
function wantedMetrics(rows: readonly { step: number; values: Record<string, number> }[], step: number) {
  const known = new Map<string, { at: number; value: number }>();
  for (const { step: at, values } of rows)
    for (const [name, value] of Object.entries(values))
      if (at <= step && name !== '__proto__' && at >= (known.get(name)?.at ?? 0)) known.set(name, { at, value });
  return Object.fromEntries(
    [...known].filter(([, { value }]) => Number.isFinite(value)).map(([name, { value }]) => [name, value]),
  );
}

export const states: Target = {
  name: 'states',
  promise:
    "a trainer's state gives each metric as of its step, as Python wrote it; cut short it is no state, and nothing of it is made up",
  slice: 2_500,
  property: () =>
    fc.property(fc.array(row, { maxLength: 6 }), fc.nat(20), fc.nat(), (rows, step, cut) => {
      const text = `{"global_step": 3, "log_history": [${rows.map(rowText).join(', ')}], "x": {}}`;
      same(metricsIn(text, step), wantedMetrics(rows, step));
      const read = parsePythonJson(text) as { log_history: Record<string, number | null>[] };
      const wanted = rows.map(({ step: at, values }) => ({ ...mapped(values), step: at }));
      same(read.log_history, wanted);
      let cutShort: unknown;
      const part = text.slice(0, cut % text.length);
      try {
        cutShort = parsePythonJson(part);
      } catch (error) {
        ok(error instanceof SyntaxError, String(error));
      }
      ok(cutShort === undefined, part);
      const numbers = new Set(rows.flatMap(({ values }) => Object.values(values)));
      for (const value of Object.values(metricsIn(part, step))) ok(numbers.has(value));
    }),
};

const mapped = (values: Record<string, number>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number.isFinite(value) ? value : null]));
