// `stepgate down NAME`: end an engine that `stepgate up` started, after what runs there. Thin over the admin API.
import { Command } from 'commander';
import { AdminClient, type AdminOptions, backend, backends, check, engine, withAdmin } from './admin-client.ts';
import { untilDrained } from './drain.ts';
import { Failure, type Terminal } from './terminal.ts';

interface DownOptions extends AdminOptions {
  readonly force?: boolean;
  readonly json?: boolean;
}

export function downCommand(terminal: Terminal): Command {
  return withAdmin(new Command('down'))
    .summary('end an engine that "stepgate up" started')
    .description(
      "End an engine of the gateway's own: nothing new goes there, what runs there ends, then its process does, and it is a backend no more.\nRequests for a base that no other engine serves are refused from then on.",
    )
    .argument('<name>', 'as "stepgate ps" lists it')
    .option('--force', 'at once: what runs there is cut')
    .option('--json', "print the admin API's answer")
    .addHelpText('after', '\nExamples:\n  stepgate down gpu-0\n  stepgate down gpu-0 --force')
    .action(async (name: string, options: DownOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const path = `/engines/${encodeURIComponent(name)}`;
      const { state } = await admin.get(path, engine);
      const { data } = await admin.get('/backends', backends);
      const isBackend = data.some((row) => row.name === name && row.from === 'engine');
      if (isBackend && !options.force && state !== 'stopping') {
        const of = `/backends/${encodeURIComponent(name)}`;
        const first = await admin.ask('POST', `${of}/drain`, { force: true });
        const { drain } = await untilDrained(check(first, backend), {
          look: () => admin.get(of, backend),
          terminal: options.json ? undefined : terminal,
        });
        if (drain == null) throw new Failure(`${name} was taken back while it was drained: it goes on`);
      }
      const answer = await admin.ask('DELETE', options.force ? `${path}?force=true` : path);
      terminal.out(
        options.json ? JSON.stringify(answer, null, 2) : `ended ${name}; what it said stays: stepgate logs ${name}`,
      );
    });
}
