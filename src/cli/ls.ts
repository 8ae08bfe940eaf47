// `stepgate ls [MODEL]`: what exists, and the deployments of it. Reads the admin API and prints; decides nothing.
import { Command, Option } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, checkpoints, models, withAdmin } from './admin-client.ts';
import { goWith, whole } from './arguments.ts';
import { deployments } from './deploy/answers.ts';
import { notes, type Row, tableOf } from './ls-table.ts';
import { type Terminal, table } from './terminal.ts';

interface Options extends AdminOptions {
  readonly metric?: readonly string[];
  readonly sort: string;
  readonly order?: 'asc' | 'desc';
  readonly filter?: readonly string[];
  readonly ready?: boolean;
  readonly state: string;
  readonly limit?: number;
  readonly after?: string;
  readonly wide?: boolean;
  readonly json?: boolean;
}

/** Rows that a person is shown without having asked for more. */
const ROWS_DEFAULT = 50;
/** What sorts as a person expects, the greatest first; of a metric nobody knows, so it begins with the least. */
const GREATEST_FIRST: ReadonlySet<string> = new Set(['step', 'created', 'size', 'rank', 'revision']);

/** Losses have columns anyhow. */
const SHOWN: ReadonlySet<string> = new Set(['loss', 'train_loss', 'eval_loss']);

const OF_A_MODEL = ['metric', 'sort', 'order', 'filter', 'ready', 'state', 'limit', 'after', 'wide'];

const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

export function lsCommand(terminal: Terminal): Command {
  return withAdmin(new Command('ls'))
    .summary('list models and deployments, or the checkpoints of a model')
    .description(
      'List the models and the deployments, or with a MODEL its checkpoints, newest\nfirst: losses, whether engines can serve them, age, the backends that hold\nthem now, names that lead there.',
    )
    .argument('[model]', 'such as my-model')
    .option('--metric <name>', 'a column for this metric; may be repeated', several)
    .option('--sort <field>', 'step, created, size, rank, revision or a metric', 'step')
    .addOption(new Option('--order <order>', 'greatest or least first (a metric: least)').choices(['asc', 'desc']))
    .option('--filter <condition>', 'such as "eval_loss<0.5"; may be repeated', several)
    .option('--ready', 'only what an engine can serve')
    .addOption(
      new Option('--state <state>', 'live: not deleted')
        .choices(['live', 'servable', 'unservable', 'deleted', 'all'])
        .default('live'),
    )
    .option('--limit <rows>', `at most so many (default: ${ROWS_DEFAULT})`, whole(1, 100_000))
    .option('--after <name>', 'the rows behind this one')
    .option('--wide', 'every column, however wide')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate ls\n  stepgate ls my-model --metric judge --sort judge --order desc --limit 10\n  stepgate ls my-model --ready --filter "eval_loss<0.5" --filter "step>=100"\n  stepgate ls my-model --json | jq -r ".data[].name"',
    )
    .action(async (model: string | undefined, options: Options, self: Command) => {
      if (model === undefined) goWith('a MODEL', OF_A_MODEL, self);
      const admin = await AdminClient.of(options, terminal);
      if (model !== undefined) return listCheckpoints(admin, model, { options, terminal });
      if (options.json) {
        const { data } = await admin.get('/deployments', deployments);
        const answer = await admin.ask('GET', '/models');
        terminal.out(JSON.stringify({ ...(answer as object), deployments: data }, null, 2));
      } else {
        printModels((await admin.get('/models', models)).data, terminal);
        printDeployments((await admin.get('/deployments', deployments)).data, terminal);
      }
    });
}

async function listCheckpoints(
  admin: AdminClient,
  model: string,
  { options, terminal }: { options: Options; terminal: Terminal },
): Promise<void> {
  const { sort, order, metric = [], filter = [], ready, state, after, json, wide = false } = options;
  const limit = options.limit ?? (json ? undefined : ROWS_DEFAULT);
  const query = new URLSearchParams({
    sort,
    order: order ?? (GREATEST_FIRST.has(sort) ? 'desc' : 'asc'),
    state: ready ? 'ready' : state,
    ...(limit !== undefined && { limit: `${limit}` }),
    ...(after !== undefined && { after }),
  });
  for (const condition of filter) query.append('where', condition);
  const path = `/models/${encodeURIComponent(model)}/checkpoints?${query}`;
  if (json) return terminal.out(JSON.stringify(await admin.ask('GET', path), null, 2));
  const { data, total, hasMore } = await admin.get(path, checkpoints);
  if (data.length === 0) {
    const narrowed = filter.length > 0 || ready || after !== undefined || state !== 'live';
    return terminal.out(narrowed ? 'no such checkpoints' : 'no checkpoints yet');
  }
  for (const name of [sort, ...metric]) if (!isKnown(name, data)) terminal.err(sayUnknown(name, data));
  const sortedBy = GREATEST_FIRST.has(sort) || SHOWN.has(sort) ? [] : [sort];
  const columns = { metrics: [...new Set([...metric, ...sortedBy])], wide };
  const { text, hidden } = tableOf(data, columns, terminal.width);
  terminal.out([text, ...notes(data, terminal.width)].join('\n'));
  const last = data.at(-1)?.name;
  if (hasMore)
    terminal.err(`${data.length} of ${total}; the next ones: --after ${last}, or more at once: --limit ${total}`);
  if (hidden.length > 0) terminal.err(`not shown: ${hidden.join(', ').toLowerCase()} (--wide)`);
}

/** A metric that no row has is most often a slip, which sorts nothing and shows a column of dashes. */
const isKnown = (name: string, rows: readonly Row[]): boolean =>
  GREATEST_FIRST.has(name) || SHOWN.has(name) || rows.some(({ metrics }) => Object.hasOwn(metrics, name));

function sayUnknown(name: string, rows: readonly Row[]): string {
  const there = [...new Set(rows.flatMap(({ metrics }) => Object.keys(metrics)))];
  return `none of these has a metric "${name}"${there.length > 0 ? `; there are ${there.join(', ')}` : ''}`;
}

function printModels(rows: z.output<typeof models>['data'], terminal: Terminal): void {
  if (rows.length === 0)
    terminal.out('no models yet: set "watch" for one in the config, or "stepgate register my-model@5 PATH"');
  else
    terminal.out(
      table(
        ['MODEL', 'STEPS', 'SERVABLE', 'LATEST', 'BEST', 'POLICY', 'BASE'],
        rows.map((row) => [
          row.name,
          `${row.checkpoints}`,
          `${row.servable}`,
          suffix(row.latest, row.name),
          suffix(row.best, row.name),
          row.policy,
          row.base ?? '-',
        ]),
        terminal.width,
      ),
    );
}

function printDeployments(rows: z.output<typeof deployments>['data'], terminal: Terminal): void {
  if (rows.length === 0) return;
  const cells = rows.map(({ name, build, target, leadsTo }) => [name, `${build}`, target, leadsTo ?? '-']);
  terminal.out(`\n${table(['DEPLOYMENT', 'BUILD', 'TARGET', 'LEADS TO'], cells, terminal.width)}`);
}

/** `my-model@5` as `@5`, in the row of `my-model`. */
function suffix(name: string | null | undefined, model: string): string {
  if (name == null) return '-';
  return name.startsWith(`${model}@`) ? name.slice(model.length) : name;
}
