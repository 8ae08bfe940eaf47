// The config's rows for engines: part of the schema in config-schema.ts.
import { z } from 'zod';
import type { BackendConfig } from './config.ts';
import { engineCredentials, oneKeyAtMost } from './config-access.ts';
import { path, section } from './config-parts.ts';
import { as, type BackendName, type BaseName } from './domain.ts';
import { parseTemplate } from './model-template.ts';

/** A path on an engine's machine: nothing here could make a relative one absolute. */
const enginePath = path.refine(
  (text) => text.startsWith('/'),
  'begins with "/": the engine reads it on its own machine',
);

const engineUrl = z
  .string()
  .meta({ description: "The engine's address, without /v1.", examples: ['http://127.0.0.1:8100'] })
  .transform((text, context) => {
    const refuse = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(text))
      return refuse(`${JSON.stringify(text)} is no http URL; write for example "http://127.0.0.1:8100"`);
    if (url.username !== '' || url.password !== '')
      return refuse('a URL here holds no user or password; take them out');
    if (url.search !== '' || url.hash !== '') return refuse('take out the part from "?" or "#" on');
    const bare = url.href.replace(/\/+$/, '');
    if (/\/v1$/.test(bare)) return refuse(`leave out "/v1": write "${bare.slice(0, -'/v1'.length)}"`);
    return bare;
  });

const template = z.string().superRefine((text, context) => {
  const parsed = parseTemplate(text);
  if (typeof parsed === 'string') context.addIssue({ code: 'custom', message: parsed });
});

/** The keys of openai-compatible alone. */
const hosted = {
  bases: z.array(z.string().min(1)).min(1).optional().meta({
    description: 'Of openai-compatible alone, and needed there: the base models that it serves, as requests name them.',
  }),
  models: z
    .record(z.string(), template)
    .optional()
    .meta({
      description:
        'Of openai-compatible alone: what the checkpoints of a model are called there. Fields: {step}, {step:06} (zeros in front), {model}, {name}, {id}.',
      examples: [{ 'my-model': 'tinker://run:train:0/sampler_weights/{step:06}' }],
    }),
  health: z
    .enum(['models', 'none'])
    .optional()
    .meta({
      description:
        'Of openai-compatible alone. models, as when left out: it is up while GET /v1/models answers; none: until a connection fails.',
      examples: ['none'],
    }),
};

export const backendName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'letters, digits, ".", "_" and "-" only, at most 63; write for example "gpu-0"',
  );

const row = section('One engine server.', {
  name: backendName.meta({ description: 'Your name for it, in logs, headers and metrics.', examples: ['gpu-0'] }),
  url: engineUrl,
  kind: z
    .enum(['vllm', 'sglang', 'lorax', 'openai-compatible'])
    .default('vllm')
    .describe(
      'What the engine speaks; docs/engines.md has a section for each. openai-compatible: a service that finds checkpoints by their names.',
    ),
  slots: z
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .meta({
      description:
        'Distinct adapters that it runs at once (--max-loras). Left out: learned from the engine, which tells once it has run an adapter.',
      examples: [2],
    }),
  runningMax: z
    .int()
    .min(1)
    .max(8_192)
    .optional()
    .meta({
      description:
        'Requests that it is given at once (--max-num-seqs); more wait in the gateway, the most urgent first. Left out: learned from the engine, starting at 256.',
      examples: [256],
    }),
  rankMax: z
    .int()
    .min(1)
    .max(4_096)
    .optional()
    .meta({
      description:
        'The greatest rank that it serves (--max-lora-rank), so that "stepgate ls" can say which checkpoints it would refuse. Left out: not known.',
      examples: [64],
    }),
  storePath: enginePath.optional().meta({
    description:
      "Where this engine sees the adapter store (the directory adapters under `data`), when it mounts it elsewhere. Left out: under the gateway's own path.",
    examples: ['/mnt/stepgate/adapters'],
  }),
  ...hosted,
  ...engineCredentials,
});
const backend = row.refine(oneKeyAtMost, 'write keyFile or keyEnv, not both').superRefine(ofItsKind);

const inConfigOnly = z
  .never(
    'is for the config only: from outside, no file or variable of the gateway can be named; write this backend there',
  )
  .optional();

/** One that comes by the admin API. */
export const addedBackend = row
  .extend({ keyFile: inConfigOnly, keyEnv: inConfigOnly, caFile: inConfigOnly })
  .superRefine(ofItsKind);

export const backends = z
  .array(backend)
  .superRefine(distinct)
  .default([{ name: 'vllm', url: 'http://127.0.0.1:8000', kind: 'vllm' }])
  .describe('The engines. Left out: one vLLM at http://127.0.0.1:8000.');

type Kinds = { readonly kind: string } & Readonly<Record<string, unknown>>;

/** Keys that mean nothing for its kind are a misunderstanding. */
function ofItsKind(row: Kinds, context: z.RefinementCtx): void {
  const isHosted = row.kind === 'openai-compatible';
  const senseless = isHosted ? ['slots', 'rankMax', 'storePath'] : Object.keys(hosted);
  const why = isHosted
    ? 'means nothing to kind openai-compatible, which loads no files'
    : 'is of kind openai-compatible alone';
  for (const key of senseless)
    if (row[key] !== undefined)
      context.addIssue({ code: 'custom', path: [key], message: `"${key}" ${why}; take it out` });
  if (!isHosted || row.bases !== undefined) return;
  const message =
    'kind openai-compatible needs "bases": the base models that the service serves, such as [Qwen/Qwen3-8B]';
  context.addIssue({ code: 'custom', path: ['kind'], message });
}

/** Two rows for one engine would count its slots twice; two engines of one name cannot be told apart. */
function distinct(rows: readonly { name: string; url: string }[], context: z.RefinementCtx): void {
  for (const key of ['name', 'url'] as const) {
    const seen = new Map<string, number>();
    rows.forEach((row, index) => {
      const first = seen.get(row[key]);
      if (first === undefined) seen.set(row[key], index);
      else
        context.addIssue({
          code: 'custom',
          path: [index, key],
          message: `"${row[key]}" is already backends[${first}].${key}; give each engine its own`,
        });
    });
  }
}

/** A row as the rest of the gateway knows it. */
export function frozenBackend({ bases, models, name, ...row }: z.output<typeof backend>): BackendConfig {
  return Object.freeze({
    ...row,
    name: as<BackendName>(name),
    ...(bases && { bases: Object.freeze(bases.map((base) => as<BaseName>(base))) }),
    ...(row.kind === 'openai-compatible' && { models: Object.freeze({ ...models }) }),
  });
}
