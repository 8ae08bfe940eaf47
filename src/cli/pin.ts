// `stepgate pin [STEPS]`: keep steps from being deleted for a time. Thin over the admin API.
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { loginName } from './alias.ts';
import { goWith } from './arguments.ts';
import { type Terminal, table, wrong } from './terminal.ts';
import { readTime, sayUntil } from './times.ts';

const pin = z.object({
  id: z.string(),
  model: z.string(),
  from: z.number(),
  to: z.number(),
  steps: z.array(z.number()).nullable(),
  owner: z.string(),
  until: z.string().nullable(),
});
type Pin = z.output<typeof pin>;
const pins = z.object({ data: z.array(pin) });

interface PinOptions extends AdminOptions {
  readonly for?: string;
  readonly owner?: string;
  readonly remove?: string;
  readonly json?: boolean;
}

export function pinCommand(terminal: Terminal): Command {
  return withAdmin(new Command('pin'))
    .summary('keep steps from being deleted while something needs them')
    .description(
      'With STEPS, keep them: neither retention nor "stepgate rm" deletes a pinned step until the pin ends or is removed.\nWithout, list the pins.',
    )
    .argument('[steps]', 'such as my-model@5, my-model@5..40 or my-model@5,10,20')
    .option('--for <time>', 'how long, such as 90s, 30m, 2h or 7d (default: until it is removed)')
    .option('--owner <name>', 'who needs them (default: your login name)')
    .option('--remove <id>', 'remove a pin')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate pin my-model@5..40 --for 2h --owner nightly-eval\n  stepgate pin\n  stepgate pin --remove 1a2b3c4d',
    )
    .action(async (steps: string | undefined, options: PinOptions, self: Command) => {
      if (steps !== undefined && options.remove !== undefined) self.error('error: STEPS, or --remove, not both');
      if (steps === undefined) goWith('STEPS', ['for', 'owner'], self);
      const admin = await AdminClient.of(options, terminal);
      const say = (answer: unknown, text: () => string) =>
        terminal.out(options.json ? JSON.stringify(answer, null, 2) : text());
      if (options.remove !== undefined) {
        const answer = await admin.ask('DELETE', `/pins/${encodeURIComponent(options.remove)}`);
        return say(answer, () => `removed pin ${options.remove}`);
      }
      if (steps === undefined) {
        const answer = await admin.ask('GET', '/pins');
        return say(answer, () => listing(check(answer, pins).data, terminal.width));
      }
      const ttl = options.for === undefined ? {} : { ttlMs: readTime(options.for) };
      const body = { ...readSteps(steps), owner: options.owner ?? loginName(), ...ttl };
      const answer = await admin.ask('POST', '/pins', body);
      say(answer, () => {
        const made = check(answer, pin);
        return `pinned ${made.model}@${sayStepsOf(made)} for ${made.owner}, ${sayUntil(made.until)} (pin ${made.id})`;
      });
    });
}

function listing(rows: readonly Pin[], width: number): string {
  if (rows.length === 0) return 'no pins: "stepgate pin my-model@5..40 --for 2h" makes one';
  const cells = rows.map((row) => [row.id, `${row.model}@${sayStepsOf(row)}`, row.owner, sayUntil(row.until)]);
  return table(['ID', 'STEPS', 'OWNER', 'UNTIL'], cells, width);
}

const sayStepsOf = ({ steps, from, to }: Pin): string => {
  if (from === to) return `${from}`;
  return steps === null ? `${from}..${to}` : steps.join(',');
};

function readSteps(text: string): { model: string; steps: number[] } | { model: string; from: number; to: number } {
  const [, model = '', which = ''] = /^(.+)@([0-9.,]+)$/.exec(text) ?? [];
  const range = /^([0-9]+)\.\.([0-9]+)$/.exec(which);
  if (range) return { model, from: Number(range[1]), to: Number(range[2]) };
  if (/^[0-9]+(,[0-9]+)*$/.test(which)) return { model, steps: which.split(',').map(Number) };
  throw wrong(`"${text}" names no steps: write my-model@5, my-model@5..40 or my-model@5,10,20`);
}
