// The zod schema of a config file: every key, its default, its bounds and its description, once.
// The JSON schema and docs/config.md are made from it. How a refusal is worded for the reader is in config-problems.ts.
import { z } from 'zod';
import { access, tls } from './config-access.ts';
import { backends } from './config-backends.ts';
import { engines } from './config-engines.ts';
import { health } from './config-health.ts';
import { limits } from './config-limits.ts';
import { count, ms, path, section } from './config-parts.ts';
import { sources } from './config-sources.ts';
import type { LayoutName } from './domain.ts';
import { checkModelName } from './registry/name.ts';

export interface Address {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

const LAYOUT_NAMES = [
  'auto',
  'hf',
  'art',
  'prime-rl',
  'verl',
  'skyrl',
  'openrlhf',
  'torchtune',
  'adapter',
] as const satisfies readonly LayoutName[];

const address = (byDefault: string, about: string) =>
  z
    .union([z.string(), z.int().min(0).max(65_535)])
    .meta({ description: about, examples: [byDefault, Number(byDefault.slice(byDefault.lastIndexOf(':') + 1))] })
    .transform((written, context): Address => {
      const parsed = parseAddress(String(written));
      if (parsed !== undefined) return parsed;
      const message = `expected host:port with a port from 0 to 65535, got ${JSON.stringify(written)}; write for example "${byDefault}", or "[::1]:8080" in quotes`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    })
    .prefault(byDefault);

/** `127.0.0.1:8080`, `[::1]:8080`, `:8080` (every interface), `8080` (this machine only). */
function parseAddress(text: string): Address | undefined {
  const match = /^(?:(?:\[([0-9a-f:.]+)\]|([A-Za-z0-9._-]*)):)?(\d{1,5})$/i.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  const named = match[1] ?? match[2];
  return { host: named === undefined ? '127.0.0.1' : named === '' ? '0.0.0.0' : named, port };
}

/** Whether only this machine can connect to the host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

const modelName = z.string().superRefine((name, context) => {
  const message = checkModelName(name);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

const model = section('A lineage of checkpoints.', {
  base: z
    .string()
    .min(1)
    .optional()
    .meta({
      description: "The base's name as the engines serve it. Left out: the only base of the fleet.",
      examples: ['Qwen/Qwen3-8B'],
    }),
  watch: path.optional().meta({
    description: "A trainer's output directory, relative to this file; checkpoints that appear there are registered.",
    examples: ['/runs/my-model'],
  }),
  layout: z
    .enum(LAYOUT_NAMES)
    .default('auto')
    .describe(
      'How the trainer lays out its directory. auto: told from what is in it; hf: checkpoint-<step>/ (HF Trainer, TRL, Axolotl, LLaMA-Factory); adapter: the directory is itself one adapter.',
    ),
  latest: z
    .enum(['ready', 'published', 'error'])
    .default('ready')
    .describe(
      'What the bare name and @latest mean. ready: the newest checkpoint that an engine has loaded; published: the newest registered one; error: a request must name its step.',
    ),
  best: section('What @best means.', {
    metric: z
      .string()
      .min(1)
      .max(100)
      .default('eval_loss')
      .describe("The metric, by the trainer's name for it or as it is set by the API."),
    direction: z.enum(['min', 'max']).default('min').describe('Whether the least or the greatest value is the best.'),
  })
    .prefault({})
    .meta({ examples: [{ metric: 'eval_loss', direction: 'min' }] }),
  keep: section(
    'Which checkpoints are kept, besides those that are named, pinned or in use; one that any rule keeps stays. Left out: all.',
    {
      last: z.int().min(1).max(1_000_000).optional().describe('The newest so many.'),
      best: z.int().min(1).max(1_000_000).optional().describe('The best so many, by `best`.'),
      every: z.int().min(1).max(1_000_000_000).optional().describe('Each step that is divisible by it.'),
    },
  )
    .refine(
      (keep) => Object.keys(keep).length > 0,
      'no rule is written under it; write for example "keep: { last: 5, best: 3 }", or take the line out to keep all',
    )
    .optional()
    .meta({ examples: [{ last: 5, best: 3 }] }),
});

export const configSchema = section('Configuration of stepgate.', {
  listen: address(
    '127.0.0.1:8080',
    'Where clients connect (OpenAI API, /health, /ready, /metrics). ":8080" is every interface, 8080 this machine only. A change needs a restart.',
  ),
  admin: address(
    '127.0.0.1:8081',
    'Where the admin API listens. Another than a loopback address is refused until there is an admin key. A change needs a restart.',
  ),
  data: path
    .default('stepgate-data')
    .describe('Directory of the registry and the adapter store, relative to this file. A change needs a restart.'),
  backends,
  engines,
  models: z
    .record(modelName, model)
    .default({})
    .describe('Models by name. Others come into being when a checkpoint is registered.'),
  roots: z
    .array(path)
    .default([])
    .describe(
      'Directories from which checkpoints may be registered. None: any directory, but only by callers on this machine.',
    ),
  store: section('The adapter store, under `data`.', {
    bytesMax: z
      .int()
      .min(1_048_576)
      .max(1_000_000_000_000_000)
      .optional()
      .meta({
        description:
          'How large it may grow. What nothing refers to any more goes first; when that is not enough, registration is answered 507. Left out: as large as the disk.',
        examples: [100_000_000_000],
      }),
  }).prefault({}),
  sources,
  tls,
  access,
  discovery: section('How watched directories are read.', {
    rescanMs: ms(
      5_000,
      'How often each directory is listed, and some of its known steps looked at again, whatever the file system has announced.',
    ),
    settleMs: ms(2_000, 'How long files must have stayed the same where the layout has no completion marker.'),
  }).prefault({}),
  limits,
  deadlines: section('How long an engine may take.', {
    connectMs: ms(2_000, 'To connect.'),
    loadMs: ms(60_000, 'To load an adapter.'),
    firstTokenMs: ms(120_000, 'From the request to the first byte of the answer.'),
    betweenChunksMs: ms(60_000, 'Between two parts of an answer.'),
    wholeMs: ms(600_000, 'For a whole answer.'),
  }).prefault({}),
  health,
  scheduling: section('How adapters share the slots.', {
    drainAfterMs: section(
      'A request that has waited this long gets a slot drained for it, before all others; by its class.',
      {
        interactive: ms(2_000, 'Somebody waits for the answer.'),
        rollout: ms(10_000, 'A training loop does.'),
        eval: ms(40_000, 'An evaluation does.'),
      },
    ).prefault({}),
    quantumLoads: count(
      4,
      1000,
      'An adapter serves for so many times what its load took before it is drained for another: more for slow loads.',
    ),
    batchLoads: count(
      32,
      1000,
      'A request for an adapter that is in no slot waits for company before a slot is drained for it: so many times what a load takes, shared by all who wait for it.',
    ),
    batchMsMax: ms(60_000, 'That wait at most.'),
    replicateAbove: count(
      64,
      100_000,
      'An adapter is loaded on one more engine when the least busy that holds it runs this many requests more than that one.',
    ),
    latestWithinMs: ms(
      10_000,
      'The bare name moves to the newest checkpoint when as many engines are warm with it as its requests need, and no later than this after the first of them.',
    ),
    failureMemoryMs: ms(30_000, 'How long an adapter that an engine refused is not tried again.'),
    commentEveryMs: ms(5_000, 'How often a waiting streaming client is sent a comment, to keep its connection awake.'),
  }).prefault({}),
  shutdown: section('How it ends when it is told to (SIGTERM, Ctrl-C).', {
    graceMs: ms(600_000, 'Requests under way may take so long to end; those that are left are told, and cut.'),
  }).prefault({}),
  probe: section('How engines are watched.', {
    everyMs: ms(2_000, 'Between two looks at an engine.'),
    timeoutMs: ms(2_000, 'After which a look has failed.'),
  }).prefault({}),
});
