// The config's section on adapters from elsewhere: part of the schema in config-schema.ts. What is allowed is judged by sources/allow.ts; what
// is in the key files is read by access/credentials.ts, and stays out of the config.
import { z } from 'zod';
import { oneKeyAtMost } from './config-access.ts';
import { ms, path, section } from './config-parts.ts';
import { PATTERN } from './sources/allow.ts';

const credentials = (about: string) => ({
  keyFile: path.optional().meta({
    description: `A file that holds ${about}, relative to this file.`,
    examples: ['/run/secrets/source-key'],
  }),
  keyEnv: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "the environment variable's name, not what it holds; write for example HF_TOKEN")
    .optional()
    .meta({ description: 'Instead of keyFile: the environment variable that holds it.', examples: ['HF_TOKEN'] }),
});

const url = (about: string, example: string) =>
  z
    .string()
    .regex(/^https?:\/\/[^/\s?#@]+(\/[^\s?#]*)?$/, `no http URL without user and query; write for example "${example}"`)
    .transform((text) => text.replace(/\/+$/, ''))
    .meta({ description: about, examples: [example] });

const redirects = (byDefault: readonly string[]) =>
  z
    .array(z.string().regex(/^[\w*[]([\w.*:[\]-]*[\w\]])?$/, 'a host, such as "cdn.example.com" or "*.example.com"'))
    .default([...byDefault])
    .describe(
      'Hosts, besides its own, to which it may send the gateway for the files. One with "*" must be at a public address.',
    );

const ONE_KEY = 'write keyFile or keyEnv, not both';

export const sources = section('From where checkpoints may be fetched; see docs/sources.md.', {
  allow: z
    .array(
      z
        .string()
        .regex(
          PATTERN,
          'no beginning of a source; write for example "hf:my-org/*", "s3://ckpts/runs" or "https://models.example.com/"',
        ),
    )
    .default([])
    .meta({
      description:
        'Beginnings of sources, by whole parts between slashes; "*" stands for any letters of one part. None: nothing is fetched.',
      examples: [['hf:my-org/*', 's3://ckpts/runs']],
    }),
  bytesMax: z
    .int()
    .min(1_048_576)
    .max(1_000_000_000_000)
    .default(10_000_000_000)
    .describe('The most that one source may bring, packed or not.'),
  fetchMsMax: ms(3_600_000, 'How long one fetch may take; what it has by then is kept for the next.'),
  hf: section('The Hugging Face Hub, or a mirror of it.', {
    url: url('Its address.', 'https://huggingface.co').prefault('https://huggingface.co'),
    redirects: redirects(['*.huggingface.co', '*.hf.co']),
    ...credentials('a token (hf_...)'),
  })
    .refine(oneKeyAtMost, ONE_KEY)
    .prefault({}),
  s3: section('S3, or what speaks as it does.', {
    url: url('Its address, where it is not that of AWS.', 'http://minio:9000').optional(),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,40}$/, 'a region, such as "eu-central-1"')
      .default('us-east-1')
      .describe('The region of the buckets.'),
    ...credentials('ID:SECRET, or ID:SECRET:TOKEN, of an access key'),
  })
    .refine(oneKeyAtMost, ONE_KEY)
    .prefault({}),
  mlflow: section('An MLflow tracking server.', {
    url: url('Its address.', 'http://mlflow:5000').optional(),
    redirects: redirects([]),
    ...credentials('a token, or USER:PASSWORD'),
  })
    .refine(oneKeyAtMost, ONE_KEY)
    .prefault({}),
  wandb: section('Weights & Biases.', {
    url: url('Its address.', 'https://api.wandb.ai').prefault('https://api.wandb.ai'),
    redirects: redirects(['*.wandb.ai', 'storage.googleapis.com']),
    ...credentials('an API key'),
  })
    .refine(oneKeyAtMost, ONE_KEY)
    .prefault({}),
  hosts: z
    .record(
      z
        .string()
        .regex(/^([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d+)?$/, 'a host as it is in the URL, such as "models.example.com"'),
      section('One host of https sources.', credentials('a token, to be shown as "Bearer"')).refine(
        oneKeyAtMost,
        ONE_KEY,
      ),
    )
    .default({})
    .meta({
      description: 'Credentials for https sources, by host.',
      examples: [{ 'models.example.com': { keyEnv: 'MODELS_TOKEN' } }],
    }),
}).prefault({});
