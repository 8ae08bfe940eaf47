// The config's keys for when engines and adapters are kept out of use: part of the schema in config-schema.ts. What they mean is docs/health.md.
import { z } from 'zod';
import { section } from './config-parts.ts';

const dayMs = 86_400_000;

export const health = section('When an engine or an adapter is kept out of use (docs/health.md).', {
  ejectAfter: z
    .int()
    .min(1)
    .max(1_000)
    .default(5)
    .describe('An engine is ejected when so many of its requests failed one after the other. Never the last one.'),
  ejectedMs: z
    .int()
    .min(1)
    .max(dayMs)
    .default(30_000)
    .describe('For how long at first; times 2, 3, ... up to 10 when it is ejected again. Then one request tries it.'),
  quarantineMs: z
    .int()
    .min(1)
    .max(dayMs)
    .default(600_000)
    .describe(
      'How long an adapter that an engine died of is loaded nowhere; times 2, 3, ... up to 24 when another one dies. Then it is tried on one engine.',
    ),
}).prefault({});
