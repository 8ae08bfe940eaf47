// `stepgate retain MODEL`: carry out the model's `keep` now, or say what it would do. Thin over the admin API.
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { type Terminal, table } from './terminal.ts';

const verdicts = z.object({
  dryRun: z.boolean(),
  data: z.array(z.object({ name: z.string(), keep: z.boolean(), why: z.string() })),
});

interface RetainOptions extends AdminOptions {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function retainCommand(terminal: Terminal): Command {
  return withAdmin(new Command('retain'))
    .summary('delete the steps that the rules do not keep')
    .description(
      'Delete the steps of MODEL that its "keep" in the config does not keep, and say why each stays or goes.\nIt also happens by itself after each registration. What latest, best or an alias leads to, what is pinned, and what is in use stays.\nThe trainer\'s own files are left alone.',
    )
    .argument('<model>', 'such as my-model')
    .option('--dry-run', 'delete nothing, only say')
    .option('--json', "print the admin API's answer")
    .addHelpText('after', '\nExamples:\n  stepgate retain my-model --dry-run\n  stepgate retain my-model')
    .action(async (model: string, options: RetainOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const dryRun = options.dryRun === true;
      const answer = await admin.ask('POST', `/models/${encodeURIComponent(model)}/retain`, { dryRun });
      if (options.json) {
        terminal.out(JSON.stringify(answer, null, 2));
        return;
      }
      const { data } = check(answer, verdicts);
      const goes = dryRun ? 'would go' : 'deleted';
      const cells = data.map(({ name, keep, why }) => [name, keep ? 'stays' : goes, why]);
      if (cells.length > 0) terminal.out(table(['NAME', 'VERDICT', 'WHY'], cells, terminal.width));
      terminal.out(`${data.filter(({ keep }) => !keep).length} of ${data.length} ${goes}`);
    });
}
