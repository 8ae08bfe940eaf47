// `stepgate quarantine`: adapters that engines died of, and the way to have one tried again. Thin over the admin API.
import { Command } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, check, quarantine, quarantined, withAdmin } from './admin-client.ts';
import { type Terminal, table } from './terminal.ts';
import { sayUntil } from './times.ts';

interface QuarantineOptions extends AdminOptions {
  readonly retry?: string;
  readonly json?: boolean;
}

export function quarantineCommand(terminal: Terminal): Command {
  return withAdmin(new Command('quarantine'))
    .summary('list the adapters that engines died of, or try one again')
    .description(
      'An adapter that an engine was loading when it died, or was answering with for the first time, is loaded nowhere for a while, so that the next engine does not die of it too. Then it is tried on one engine, and is free once it has answered.\nWithout an option, list what is under quarantine.',
    )
    .option('--retry <name>', 'have it tried now, on one engine')
    .option('--json', "print the admin API's answer")
    .addHelpText('after', '\nExamples:\n  stepgate quarantine\n  stepgate quarantine --retry my-model@66')
    .action(async (options: QuarantineOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const say = (answer: unknown, text: () => string) =>
        terminal.out(options.json ? JSON.stringify(answer, null, 2) : text());
      if (options.retry !== undefined) {
        const answer = await admin.ask('POST', '/quarantine/retry', { name: options.retry });
        const { name } = check(answer, quarantined);
        return say(answer, () => `${name} is tried on one engine, with the next request for it`);
      }
      const answer = await admin.ask('GET', '/quarantine');
      say(answer, () => listing(check(answer, quarantine).data, terminal.width));
    });
}

function listing(data: z.output<typeof quarantine>['data'], width: number): string {
  if (data.length === 0) return 'nothing is under quarantine';
  const cells = data.map(({ name, state, until, about }) => [
    name,
    state === 'trial' ? 'on trial' : sayUntil(until),
    about,
  ]);
  return table(['NAME', 'KEPT', 'SEEN'], cells, width);
}
