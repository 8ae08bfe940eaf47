// `stepgate ls [MODEL]`: what exists. Reads the admin API and prints; decides nothing.
import { Command } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, checkpoints, models, withAdmin } from './admin-client.ts';
import { sayAge, sayBytes, type Terminal, table } from './terminal.ts';

export function lsCommand(terminal: Terminal): Command {
  return withAdmin(new Command('ls'))
    .summary('list models, or the checkpoints of one')
    .description(
      'List the models, or with a MODEL its checkpoints: step, state, size, and the backends that hold it now.',
    )
    .argument('[model]', 'such as my-model')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate ls\n  stepgate ls my-model\n  stepgate ls my-model --json | jq -r ".data[].name"',
    )
    .action(async (model: string | undefined, options: AdminOptions & { json?: boolean }) => {
      const admin = await AdminClient.of(options, terminal);
      const path = model === undefined ? '/models' : `/models/${encodeURIComponent(model)}/checkpoints`;
      if (options.json) terminal.out(JSON.stringify(await admin.ask('GET', path), null, 2));
      else if (model === undefined) printModels((await admin.get(path, models)).data, terminal);
      else printCheckpoints((await admin.get(path, checkpoints)).data, terminal);
    });
}

function printModels(rows: z.output<typeof models>['data'], terminal: Terminal): void {
  if (rows.length === 0)
    terminal.out('no models yet: set "watch" for one in the config, or "stepgate register my-model@5 PATH"');
  else
    terminal.out(
      table(
        ['MODEL', 'STEPS', 'SERVABLE', 'LATEST', 'POLICY', 'BASE'],
        rows.map((row) => [
          row.name,
          `${row.checkpoints}`,
          `${row.servable}`,
          row.latest ?? '-',
          row.policy,
          row.base ?? '-',
        ]),
        terminal.width,
      ),
    );
}

function printCheckpoints(rows: z.output<typeof checkpoints>['data'], terminal: Terminal): void {
  if (rows.length === 0) {
    terminal.out('no checkpoints yet');
    return;
  }
  const cells = rows.map((row) => [
    row.latest ? `${row.name} (latest)` : row.name,
    row.state,
    row.bytes == null ? '-' : sayBytes(row.bytes),
    row.rank == null ? '-' : `${row.rank}`,
    sayAge(Date.now() - Date.parse(row.createdAt)),
    row.resident.join(' ') || '-',
  ]);
  terminal.out(table(['NAME', 'STATE', 'SIZE', 'RANK', 'AGE', 'LOADED ON'], cells, terminal.width));
  for (const { name, reasons } of rows) for (const reason of reasons ?? []) terminal.out(`${name}: ${reason}`);
}
