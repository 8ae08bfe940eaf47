// `stepgate rm NAME`: forget a checkpoint. Thin over the admin API.
import { Command } from 'commander';
import { AdminClient, type AdminOptions, withAdmin } from './admin-client.ts';
import type { Terminal } from './terminal.ts';

export function rmCommand(terminal: Terminal): Command {
  return withAdmin(new Command('rm'))
    .summary('delete a checkpoint')
    .description(
      "Delete the checkpoint NAME from the gateway. Running requests end first; later ones get 410 checkpoint_deleted.\nWhat a pin, an alias or a deployment keeps is not deleted. The trainer's own files are left alone.",
    )
    .argument('<name>', 'such as my-model@5')
    .option('--json', "print the admin API's answer")
    .addHelpText('after', '\nExample:\n  stepgate rm my-model@5')
    .action(async (name: string, options: AdminOptions & { json?: boolean }) => {
      const admin = await AdminClient.of(options, terminal);
      const answer = await admin.ask('DELETE', `/checkpoints/${encodeURIComponent(name)}`);
      terminal.out(options.json ? JSON.stringify(answer, null, 2) : `deleted ${name}`);
    });
}
