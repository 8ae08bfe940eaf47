// `stepgate reserve [CHECKPOINT]`: keep slots of the engines for a checkpoint, a model, its newest steps or a class. Thin over the admin API.
import { Command, Option } from 'commander';
import { z } from 'zod';
import { CLASSES } from '../domain.ts';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { loginName } from './alias.ts';
import { whole } from './arguments.ts';
import { type Terminal, table } from './terminal.ts';
import { readTime, sayUntil } from './times.ts';

const reservation = z.object({
  id: z.string(),
  for: z.record(z.string(), z.string()),
  slots: z.number(),
  kept: z.number(),
  on: z.array(z.object({ backend: z.string(), slots: z.number() })),
  about: z.string().nullable(),
  owner: z.string(),
  until: z.string().nullable(),
});
type Reservation = z.output<typeof reservation>;
const reservations = z.object({ data: z.array(reservation) });

interface ReserveOptions extends AdminOptions {
  readonly model?: string;
  readonly latest?: string;
  readonly class?: string;
  readonly slots?: number;
  readonly for?: string;
  readonly owner?: string;
  readonly remove?: string;
  readonly json?: boolean;
}

export function reserveCommand(terminal: Terminal): Command {
  return withAdmin(new Command('reserve'))
    .summary('keep slots of the engines for a checkpoint, a model or a class')
    .description(
      'With CHECKPOINT, load it now and never evict it. With --model, --latest or --class, keep slots that nobody else may use.\nWithout any, list the reservations. (A pin keeps a step from being deleted; a reservation keeps it in an engine.)',
    )
    .argument('[checkpoint]', 'such as my-model@5, or my-model@champion, which follows the name')
    .option('--model <name>', "keep slots for this model's checkpoints")
    .option('--latest <name>', "keep a slot for this model's newest step, and one for the next to load beside it")
    .addOption(new Option('--class <class>', 'keep slots for the requests of a class').choices(CLASSES))
    .option('--slots <count>', 'how many, over all engines (default: 1; with --latest 2)', whole(1, 99_999))
    .option('--for <time>', 'how long, such as 90s, 30m, 2h or 7d (default: until it is removed)')
    .option('--owner <name>', 'who needs them (default: your login name)')
    .option('--remove <id>', 'remove a reservation')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate reserve my-model@5 --for 2h --owner nightly\n  stepgate reserve --latest my-model\n  stepgate reserve --class interactive --slots 1\n  stepgate reserve\n  stepgate reserve --remove 1a2b3c4d',
    )
    .action(async (checkpoint: string | undefined, options: ReserveOptions, self: Command) => {
      const things = Object.entries({
        checkpoint,
        model: options.model,
        latest: options.latest,
        class: options.class,
      }).filter(([, name]) => name !== undefined);
      if (things.length + (options.remove === undefined ? 0 : 1) > 1)
        self.error('error: give one of CHECKPOINT, --model, --latest, --class or --remove');
      const admin = await AdminClient.of(options, terminal);
      const say = (answer: unknown, text: () => string) =>
        terminal.out(options.json ? JSON.stringify(answer, null, 2) : text());
      if (options.remove !== undefined) {
        const answer = await admin.ask('DELETE', `/reservations/${encodeURIComponent(options.remove)}`);
        return say(answer, () => `removed reservation ${options.remove}`);
      }
      if (things.length === 0) {
        if (options.slots !== undefined || options.for !== undefined)
          self.error('error: say what the slots are for: CHECKPOINT, --model, --latest or --class');
        const answer = await admin.ask('GET', '/reservations');
        return say(answer, () => listing(check(answer, reservations).data, terminal.width));
      }
      const answer = await admin.ask('POST', '/reservations', {
        for: Object.fromEntries(things),
        owner: options.owner ?? loginName(),
        ...(options.slots !== undefined && { slots: options.slots }),
        ...(options.for !== undefined && { ttlMs: readTime(options.for) }),
      });
      say(answer, () => {
        const made = check(answer, reservation);
        const where = made.on.map(({ backend }) => backend).join(', ');
        return `reserved ${sayKept(made)} for ${sayFor(made)}${where && ` on ${where}`}, ${sayUntil(made.until)} (reservation ${made.id})`;
      });
    });
}

function listing(rows: readonly Reservation[], width: number): string {
  if (rows.length === 0) return 'no reservations: "stepgate reserve my-model@5 --for 2h" makes one';
  const cells = rows.map((row) => [row.id, sayFor(row), `${row.kept}/${row.slots}`, row.owner, sayUntil(row.until)]);
  const short = rows.flatMap((row) =>
    row.about === null ? [] : `${row.id}: kept ${row.kept} of ${row.slots}: ${row.about}`,
  );
  return [table(['ID', 'FOR', 'SLOTS', 'OWNER', 'UNTIL'], cells, width), ...short].join('\n');
}

const sayKept = ({ slots }: Reservation): string => (slots === 1 ? '1 slot' : `${slots} slots`);

const sayFor = ({ for: what }: Reservation): string =>
  Object.entries(what)
    .map(([kind, name]) => (kind === 'checkpoint' ? name : `${kind} ${name}`))
    .join(' ');
