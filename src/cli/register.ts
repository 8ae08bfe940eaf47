// `stepgate register NAME FROM` (or --hosted): tell the gateway of a checkpoint that no watched directory holds, or that lies elsewhere. Thin over the
// admin API.
import { resolve } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, checkpoint, withAdmin } from './admin-client.ts';
import { Failure, sayBytes, type Terminal } from './terminal.ts';

interface Options extends AdminOptions {
  readonly base?: string;
  readonly json?: boolean;
  readonly hosted?: boolean;
}

type Made = z.output<typeof checkpoint>;

/** A scheme; one letter and a colon is a disk of Windows. */
const SOURCE = /^[A-Za-z][A-Za-z0-9+.-]+:/;

export function registerCommand(terminal: Terminal): Command {
  return withAdmin(new Command('register'))
    .summary('register a checkpoint under a name')
    .description(
      [
        'Register a LoRA adapter under NAME: a step (my-model@5) or any exact name.',
        'FROM is a directory that the gateway can read (it holds adapter_config.json and',
        'adapter_model.safetensors), or a source that the gateway fetches it from:',
        '',
        '  hf:org/repo@revision            Hugging Face Hub; hf:org/repo/folder@revision',
        '  s3://bucket/folder              S3, MinIO',
        '  mlflow:models:/name/5           MLflow; or models:/name@alias',
        '  wandb:entity/project/name:v3    Weights & Biases',
        '  https://host/folder             or https://host/adapter.tar.gz',
        '',
        "A source must be in `sources.allow` of the gateway's config (docs/sources.md).",
        "Files are copied into the gateway's store; FROM may change or go afterwards.",
        'A fetch that broke off goes on where it was when the command is run again.',
      ].join('\n'),
    )
    .argument('<name>', 'such as my-model@5')
    .argument('[from]', 'a directory, or a source')
    .option('--hosted', 'a service has it under its name (`models` of a backend): there is no FROM')
    .option('--base <name>', "the base's name as the engines serve it (default: the model's, else the only one)")
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        '  stepgate register my-model@5 runs/my-model/checkpoint-5',
        '  stepgate register my-model@5 hf:my-org/my-model-lora@v1.0',
        '  stepgate register champion runs/other/adapter --base Qwen/Qwen3-8B',
        '  stepgate register my-model@80 --hosted',
      ].join('\n'),
    )
    .action(async (name: string, from: string | undefined, options: Options, command: Command) => {
      if ((from === undefined) !== (options.hosted === true))
        command.error('error: name where its files are (FROM), or say that a service has it (--hosted), and not both', {
          exitCode: 2,
        });
      const admin = await AdminClient.of(options, terminal);
      const base = options.base === undefined ? {} : { base: options.base };
      const isFetched = from !== undefined && SOURCE.test(from);
      const where = from === undefined ? { hosted: true } : { path: resolve(from) };
      const answer = isFetched
        ? await fetched(admin, { name, source: from, ...base }, terminal)
        : await admin.ask('POST', '/checkpoints', { name, ...where, ...base });
      if (options.json) terminal.out(JSON.stringify(answer, null, 2));
      const made = check(answer, checkpoint);
      if (made.reasons?.length)
        throw new Failure(`${made.name} is registered, but not servable: ${made.reasons.join('; ')}`);
      for (const warning of made.warnings ?? []) terminal.err(`warning: ${warning}`);
      if (!options.json) terminal.out(sayMade(made, isFetched));
    });
}

function sayMade({ name, bytes, rank, source, hosted }: Made, isFetched: boolean): string {
  const about = [
    hosted === true ? ['hosted'] : [],
    bytes == null ? [] : sayBytes(bytes),
    rank == null ? [] : `rank ${rank}`,
  ]
    .flat()
    .join(', ');
  return [
    ...(isFetched ? [`fetched ${source}`] : []),
    `registered ${name} (${about}): ask for it with "model": "${name}"`,
  ].join('\n');
}

const event = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('progress'),
    phase: z.string(),
    bytes: z.number(),
    bytesTotal: z.number().nullable(),
  }),
  z.object({ type: z.literal('done'), checkpoint: z.unknown() }),
]);

/** Asks, and shows how far it is. Ctrl-C takes it back. */
export async function fetched(
  admin: AdminClient,
  request: Record<string, string>,
  terminal: Terminal,
): Promise<unknown> {
  const left = new AbortController();
  void terminal.stopped().then(() => left.abort());
  const show = (text: string) => (terminal.interactive ? terminal.show(text) : undefined);
  let made: unknown;
  try {
    await admin.follow('/checkpoints', request, {
      signal: left.signal,
      onEvent: (said) => {
        const heard = check(said, event);
        if (heard.type === 'progress') {
          show(sayProgress(heard));
          return false;
        }
        made = heard.checkpoint;
        return true;
      },
    });
  } catch (error) {
    if (!left.signal.aborted) throw error;
    throw new Failure('stopped: what was fetched is kept for a day, and the same command goes on from there');
  } finally {
    show('');
  }
  return made;
}

function sayProgress({
  phase,
  bytes,
  bytesTotal,
}: {
  phase: string;
  bytes: number;
  bytesTotal: number | null;
}): string {
  if (phase !== 'fetching') return phase;
  if (bytesTotal === null) return `fetching: ${sayBytes(bytes)}`;
  return `fetching: ${sayBytes(bytes)} of ${sayBytes(bytesTotal)} (${Math.floor((100 * bytes) / Math.max(1, bytesTotal))} %)`;
}
