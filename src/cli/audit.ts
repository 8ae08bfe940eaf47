// `stepgate audit`: who changed what by the admin API or a signal, newest first. Thin over it.
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { whole } from './arguments.ts';
import { type Terminal, table } from './terminal.ts';

const entries = z.object({
  data: z.array(
    z.object({ at: z.string(), who: z.string(), method: z.string(), path: z.string(), status: z.number() }),
  ),
});

interface AuditOptions extends AdminOptions {
  readonly limit: number;
  readonly json?: boolean;
}

export function auditCommand(terminal: Terminal): Command {
  return withAdmin(new Command('audit'))
    .summary('who changed what')
    .description(
      'List what was done by the admin API, and reloads by SIGHUP, newest first: when, by which key or signal, what, and how it went.',
    )
    .option('--limit <count>', 'how many entries, at most 1000', whole(1, 1_000), 20)
    .option('--json', "print the admin API's answer, with what was before and after")
    .addHelpText('after', '\nExample:\n  stepgate audit --limit 100 --json')
    .action(async (options: AuditOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const answer = await admin.ask('GET', `/audit?${new URLSearchParams({ limit: `${options.limit}` })}`);
      if (options.json) return terminal.out(JSON.stringify(answer, null, 2));
      const rows = check(answer, entries).data.map(({ at, who, method, path, status }) => [
        at.replace(/\.\d+Z$/, 'Z'),
        String(status),
        who,
        `${method} ${path.replace('/admin/v1', '')}`,
      ]);
      terminal.out(
        rows.length === 0 ? 'nothing was changed yet' : table(['WHEN', 'STATUS', 'WHO', 'WHAT'], rows, terminal.width),
      );
    });
}
