// `stepgate logs NAME`: what an engine of the gateway's own says. Thin over the admin API.
import { Command } from 'commander';
import { AdminClient, type AdminOptions, withAdmin } from './admin-client.ts';
import { whole } from './arguments.ts';
import { Failure, type Terminal } from './terminal.ts';

interface LogsOptions extends AdminOptions {
  readonly follow?: boolean;
  readonly lines: number;
}

export function logsCommand(terminal: Terminal): Command {
  return withAdmin(new Command('logs'))
    .summary('show what an engine that "stepgate up" started says')
    .description(
      "Show the last lines of an engine's log, also of one that failed or was ended. The gateway keeps 8 MB of it, and the 8 MB before.",
    )
    .argument('<name>', 'as it was called with "stepgate up"')
    .option('-n, --lines <n>', 'how many of the last lines', whole(0, 10_000), 100)
    .option('-f, --follow', 'and what comes, until the engine is ended')
    .addHelpText('after', '\nExamples:\n  stepgate logs gpu-0\n  stepgate logs gpu-0 -f -n 20')
    .action(async (name: string, options: LogsOptions) => {
      const admin = await AdminClient.of(options, terminal);
      const path = `/engines/${encodeURIComponent(name)}/log?lines=${options.lines}`;
      const { body } = await admin.open(options.follow ? `${path}&follow=true` : path);
      let rest = '';
      for await (const piece of toItsEnd(body?.pipeThrough(new TextDecoderStream()) ?? [])) {
        const parts = (rest + piece).split('\n');
        rest = parts.pop() ?? '';
        for (const line of parts) terminal.out(line);
      }
      if (rest !== '') terminal.out(rest);
    });
}

/** @throws Failure when the gateway ends before the answer does */
async function* toItsEnd(answer: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  try {
    yield* answer;
  } catch {
    throw new Failure('the gateway ended; its engines go on: ask again when it is back');
  }
}
