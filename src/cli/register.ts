// `stepgate register NAME PATH` (or --hosted): tell the gateway of a checkpoint that no watched directory holds. Thin over the admin API.
import { resolve } from 'node:path';
import { Command } from 'commander';
import { AdminClient, type AdminOptions, check, checkpoint, withAdmin } from './admin-client.ts';
import { Failure, sayBytes, type Terminal } from './terminal.ts';

type Options = AdminOptions & { base?: string; json?: boolean; hosted?: boolean };

export function registerCommand(terminal: Terminal): Command {
  return withAdmin(new Command('register'))
    .summary('register a checkpoint under a name')
    .description(
      "Register the LoRA adapter in the directory PATH under NAME: a step (my-model@5) or any exact name.\nThe files are copied into the gateway's store; PATH may change or go afterwards. It must be readable by the gateway.",
    )
    .argument('<name>', 'such as my-model@5')
    .argument('[path]', 'a directory with adapter_config.json and adapter_model.safetensors')
    .option('--hosted', 'a service has it under its name (`models` of a backend): there is no PATH')
    .option('--base <name>', "the base's name as the engines serve it (default: the model's, else the only one)")
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate register my-model@5 runs/my-model/checkpoint-5\n  stepgate register champion runs/other/adapter --base Qwen/Qwen3-8B\n  stepgate register my-model@80 --hosted',
    )
    .action(async (name: string, path: string | undefined, options: Options) => {
      const where = whereOf(path, options);
      const admin = await AdminClient.of(options, terminal);
      const base = options.base === undefined ? {} : { base: options.base };
      const answer = await admin.ask('POST', '/checkpoints', { name, ...where, ...base });
      if (options.json) terminal.out(JSON.stringify(answer, null, 2));
      const made = check(answer, checkpoint);
      if (made.reasons?.length)
        throw new Failure(`${made.name} is registered, but not servable: ${made.reasons.join('; ')}`);
      const about = [
        made.bytes == null ? [] : sayBytes(made.bytes),
        made.rank == null ? [] : `rank ${made.rank}`,
        options.hosted ? 'hosted' : [],
      ].flat();
      for (const warning of made.warnings ?? []) terminal.err(`warning: ${warning}`);
      if (!options.json)
        terminal.out(`registered ${made.name} (${about.join(', ')}): ask for it with "model": "${made.name}"`);
    });
}

function whereOf(path: string | undefined, { hosted }: Options): { path: string } | { hosted: true } {
  if (hosted === true && path === undefined) return { hosted };
  if (path !== undefined && hosted === undefined) return { path: resolve(path) };
  throw new Failure('name the directory of its files (PATH), or say that a service has it (--hosted), and not both');
}
