// `stepgate reload`: have the gateway read its config anew, and say what changed. Thin over the admin API.
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import type { Terminal } from './terminal.ts';

const reloaded = z.object({
  changes: z.array(z.object({ key: z.string(), before: z.unknown(), after: z.unknown() })),
});

export function reloadCommand(terminal: Terminal): Command {
  return withAdmin(new Command('reload'))
    .summary('have the gateway read its config anew')
    .description(
      'Have a running gateway read its config file anew, as SIGHUP does, and say what changed. No request is lost.\nA file with something wrong in it, or with a change that needs a restart, changes nothing.',
    )
    .option('--json', "print the admin API's answer")
    .addHelpText('after', '\nExamples:\n  stepgate serve --check --config stepgate.yaml && stepgate reload')
    .action(async (options: AdminOptions & { json?: boolean }) => {
      const admin = await AdminClient.of(options, terminal);
      const answer = await admin.ask('POST', '/reload');
      if (options.json) return terminal.out(JSON.stringify(answer, null, 2));
      const { changes } = check(answer, reloaded);
      if (changes.length === 0) return terminal.out('nothing differs from what counts already');
      for (const { key, before, after } of changes) terminal.out(`${key}: ${sayChange(before, after)}`);
    });
}

function sayChange(before: unknown, after: unknown): string {
  if (after === null) return isWhole(before) ? 'removed' : `${say(before)} -> the default`;
  if (before === null) return isWhole(after) ? `added ${say(after)}` : say(after);
  return `${say(before)} -> ${say(after)}`;
}

const isWhole = (value: unknown): boolean => typeof value === 'object';
const say = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
