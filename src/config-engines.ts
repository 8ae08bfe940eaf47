// The config's section for engines that the gateway starts itself: part of the schema in config-schema.ts.
import { z } from 'zod';
import { section } from './config-parts.ts';

const argv = z.array(z.string().min(1)).min(1).max(1_000);

export const engines = section('Engines that the gateway starts itself: "stepgate up".', {
  enabled: z
    .boolean()
    .optional()
    .meta({
      description:
        "Whether admins may start any, which is to run programs as the gateway's user. Left out: only while `admin` is a loopback address. False: nor is one started again that ends.",
      examples: [false],
    }),
  command: argv
    .default(['vllm', 'serve'])
    .describe(
      'The program, and the arguments before the model. What follows is as for "vllm serve": the model, then flags. No shell reads it.',
    ),
  commands: z
    .record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'letters, digits, ".", "_" and "-" only'), argv)
    .default({})
    .meta({
      description:
        'Others, by the names that "stepgate up --engine-command" may say. Whole commands can be said there only while `admin` is a loopback address.',
      examples: [{ second: ['env', 'CUDA_VISIBLE_DEVICES=1', 'vllm', 'serve'] }],
    }),
}).prefault({});
