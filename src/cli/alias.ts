// `stepgate alias MODEL [ALIAS [STEP]]`: the names of a model that move, and who moved them. Thin over the admin API.
import { userInfo } from 'node:os';
import { Command } from 'commander';
import { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { whole } from './arguments.ts';
import { sayAge, type Terminal, table, wrong } from './terminal.ts';

const alias = z.object({ alias: z.string(), step: z.number(), movedAt: z.string(), by: z.string() });
const aliases = z.object({
  data: z.array(alias),
  names: z.array(z.object({ alias: z.string(), step: z.number() })),
});
const history = z.object({
  data: z.array(
    z.object({
      alias: z.string(),
      from: z.number().nullable(),
      to: z.number().nullable(),
      at: z.string(),
      by: z.string(),
    }),
  ),
});

interface AliasOptions extends AdminOptions {
  readonly expect?: string;
  readonly remove?: boolean;
  readonly by?: string;
  readonly history: number;
  readonly json?: boolean;
}

export function aliasCommand(terminal: Terminal): Command {
  return withAdmin(new Command('alias'))
    .summary('show, set or remove the names that move: my-model@champion')
    .description(
      'With MODEL alone, list its names (latest, best, aliases) and the last moves; with ALIAS too, those of that name.\nWith a STEP, let "MODEL@ALIAS" mean that step from now on; requests under way keep theirs.',
    )
    .argument('<model>', 'such as my-model')
    .argument('[alias]', 'such as champion')
    .argument('[step]', 'such as 5')
    .option('--expect <step>', 'move it only if it points to this step now ("none": only if it is not set)')
    .option('--remove', 'remove the alias')
    .option('--by <name>', 'who moves it, for the history (default: your login name)')
    .option('--history <count>', 'how many moves to list', whole(1, 10_000), 10)
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate alias my-model\n  stepgate alias my-model champion\n  stepgate alias my-model champion 5\n  stepgate alias my-model champion 10 --expect 5\n  stepgate alias my-model champion --remove',
    )
    .action(
      async (
        model: string,
        name: string | undefined,
        step: string | undefined,
        options: AliasOptions,
        self: Command,
      ) => {
        const admin = await AdminClient.of(options, terminal);
        const path = `/models/${encodeURIComponent(model)}`;
        if (step === undefined && !options.remove) {
          if (options.expect !== undefined) self.error('error: --expect goes with a STEP to point to, or --remove');
          return list({ admin, path, name, options, terminal });
        }
        if (name === undefined) self.error('error: name the ALIAS to remove');
        if (options.remove && step !== undefined) self.error('error: give a STEP to point to, or --remove, not both');
        const one = `${path}/aliases/${encodeURIComponent(name)}`;
        const expect = options.expect === undefined ? {} : { expect: readExpect(options.expect) };
        const by = options.by ?? loginName();
        const answer =
          step === undefined
            ? await admin.ask('DELETE', `${one}?${new URLSearchParams({ by, ...textsOf(expect) })}`)
            : await admin.ask('PUT', one, { step: readStep(step), by, ...expect });
        if (options.json) terminal.out(JSON.stringify(answer, null, 2));
        else
          terminal.out(
            step === undefined
              ? `removed ${model}@${name}`
              : `${model}@${name} is ${model}@${check(answer, alias).step}`,
          );
      },
    );
}

interface Listing {
  readonly admin: AdminClient;
  readonly path: string;
  /** Undefined: all. */
  readonly name: string | undefined;
  readonly options: AliasOptions;
  readonly terminal: Terminal;
}

async function list({ admin, path, name, options, terminal }: Listing): Promise<void> {
  const query = new URLSearchParams({ limit: `${options.history}`, ...(name !== undefined && { alias: name }) });
  const moves = `${path}/history?${query}`;
  const [named, moved] = [await admin.get(`${path}/aliases`, aliases), await admin.get(moves, history)];
  if (options.json) {
    terminal.out(JSON.stringify({ ...named, history: moved.data }, null, 2));
    return;
  }
  const chosen = named.names.filter((one) => name === undefined || one.alias === name);
  const names = chosen.map(({ alias, step }) => {
    const set = named.data.find((one) => one.alias === alias);
    return [`@${alias}`, `${step}`, set ? sayAgo(set.movedAt) : '-', set?.by ?? '(by itself)'];
  });
  if (names.length === 0) terminal.out(name === undefined ? 'no step can be asked for yet' : `@${name} is not set`);
  else terminal.out(table(['NAME', 'STEP', 'MOVED', 'BY'], names, terminal.width));
  if (moved.data.length === 0) return;
  const rows = moved.data.map(({ alias, from, to, at, by }) => [
    sayAgo(at),
    `@${alias}`,
    from === null ? '-' : `${from}`,
    to === null ? '-' : `${to}`,
    by,
  ]);
  terminal.out(`\n${table(['MOVED', 'NAME', 'FROM', 'TO', 'BY'], rows, terminal.width)}`);
}

const sayAgo = (at: string): string => `${sayAge(Date.now() - Date.parse(at))} ago`;
const textsOf = (expect: { expect?: number | null }) => ('expect' in expect ? { expect: `${expect.expect}` } : {});

function readStep(text: string): number {
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw wrong(`"${text}" is no step: write a number, such as 5`);
}

const readExpect = (text: string): number | null => (text === 'none' ? null : readStep(text));

/** For the history; a process may run as a user without a name. */
export function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'command line';
  }
}
