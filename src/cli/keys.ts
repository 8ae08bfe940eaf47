// `stepgate keys [NAME]`: make, list, rotate and revoke keys. Thin over the admin API; with --data straight into the data directory of a
// gateway that does not run, for who has no admin key (any more).
import { Command } from 'commander';
import { z } from 'zod';
import type { KeyRequest } from '../access/keys.ts';
import { CLASSES, SCOPES } from '../domain.ts';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { goWith, whole } from './arguments.ts';
import { Failure, type Terminal, table, wrong } from './terminal.ts';
import { readTime, sayUntil } from './times.ts';

const key = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  models: z.array(z.string()),
  class: z.string().nullable(),
  perMinute: z.number().nullable(),
  concurrentMax: z.number().nullable(),
  until: z.string().nullable(),
  oldSecretUntil: z.string().nullable(),
  revokedAt: z.string().nullable(),
});
type Key = z.output<typeof key>;
const keys = z.object({ data: z.array(key) });
const told = z.object({ id: z.string(), name: z.string(), key: z.string() });

interface KeysOptions extends AdminOptions {
  readonly scope: string;
  readonly models?: string;
  readonly class?: string;
  readonly rate?: number;
  readonly concurrent?: number;
  readonly for?: string;
  readonly rotate?: string;
  readonly grace?: string;
  readonly revoke?: string;
  readonly data?: string;
  readonly json?: boolean;
}

const OF_A_NEW_KEY = ['scope', 'models', 'class', 'rate', 'concurrent', 'for'];

export function keysCommand(terminal: Terminal): Command {
  return withAdmin(new Command('keys'))
    .summary('make, list, rotate and revoke API keys')
    .description(
      'With NAME, make a key and print it, this once. Without, list the keys.\nFrom the first key on, clients need one; from the first with the scope admin on, so do these commands (STEPGATE_KEY).',
    )
    .argument('[name]', 'whose it is, or what for')
    .option('--scope <scopes>', `what it may do, of ${SCOPES.join(', ')}`, 'use')
    .option('--models <patterns>', "which models, such as 'my-model,team-*' (default: all)")
    .option('--class <class>', `the most urgent class of its requests, and their default: ${CLASSES.join(', ')}`)
    .option('--rate <count>', 'requests a minute (default: no limit)', whole(1, 999_999))
    .option('--concurrent <count>', 'requests at once (default: no limit)', whole(1, 999_999))
    .option('--for <time>', 'how long, such as 12h or 30d (default: until it is revoked)')
    .option('--rotate <id>', 'give this key a new secret')
    .option('--grace <time>', 'with --rotate: how long the old secret still counts (default: 1h)')
    .option('--revoke <id>', 'this key counts no more')
    .option('--data <directory>', 'make the key in this data directory, while no gateway runs on it')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      "\nExamples:\n  stepgate keys root --scope admin\n  stepgate keys evals --models 'team-*' --class eval --rate 600\n  stepgate keys trainer --scope publish --models my-model --for 30d\n  stepgate keys --rotate 1a2b3c4d5e6f --grace 1d",
    )
    .action((name: string | undefined, options: KeysOptions, self: Command) => act(terminal, name, { options, self }));
}

async function act(
  terminal: Terminal,
  name: string | undefined,
  { options, self }: { options: KeysOptions; self: Command },
): Promise<void> {
  if ([name, options.rotate, options.revoke].filter((one) => one !== undefined).length > 1)
    self.error('error: give one of NAME, --rotate or --revoke');
  if (name === undefined) goWith('the NAME of a new key', OF_A_NEW_KEY, self);
  if (options.rotate === undefined) goWith('--rotate', ['grace'], self);
  if (options.data !== undefined) {
    if (name === undefined) self.error('error: --data makes a key: give its NAME');
    else tell(terminal, await makeIn(options.data, request(name, options)), options);
    return;
  }
  const admin = await AdminClient.of(options, terminal);
  if (name !== undefined) return tell(terminal, await admin.ask('POST', '/keys', request(name, options)), options);
  if (options.rotate !== undefined) {
    const body = options.grace === undefined ? {} : { graceMs: options.grace === '0' ? 0 : readTime(options.grace) };
    const path = `/keys/${encodeURIComponent(options.rotate)}/rotate`;
    return tell(terminal, await admin.ask('POST', path, body), options);
  }
  const say = (answer: unknown, text: () => string) =>
    terminal.out(options.json ? JSON.stringify(answer, null, 2) : text());
  if (options.revoke !== undefined) {
    const answer = await admin.ask('DELETE', `/keys/${encodeURIComponent(options.revoke)}`);
    return say(answer, () => `revoked ${options.revoke} (${check(answer, key).name})`);
  }
  const answer = await admin.ask('GET', '/keys');
  say(answer, () => listing(check(answer, keys).data, terminal.width));
}

/** The key alone on stdout, for `KEY=$(stepgate keys ...)`. */
function tell(terminal: Terminal, answer: unknown, { json }: KeysOptions): void {
  const { id, name, key } = check(answer, told);
  terminal.out(json ? JSON.stringify(answer, null, 2) : key);
  if (!json) terminal.err(`key ${id} (${name}); it is shown this once. Clients send it as their API key.`);
}

function request(name: string, options: KeysOptions): KeyRequest {
  const scopes = list(options.scope).map((scope) => oneOf(SCOPES, scope, '--scope'));
  const touchesModels = scopes.some((scope) => scope !== 'admin');
  return {
    name,
    scopes,
    models: options.models === undefined ? (touchesModels ? ['*'] : []) : list(options.models),
    ...(options.class !== undefined && { class: oneOf(CLASSES, options.class, '--class') }),
    ...(options.rate !== undefined && { perMinute: options.rate }),
    ...(options.concurrent !== undefined && { concurrentMax: options.concurrent }),
    ...(options.for !== undefined && { ttlMs: readTime(options.for) }),
  };
}

/** The database's lock keeps it from a directory that a gateway runs on. */
async function makeIn(directory: string, asked: KeyRequest): Promise<unknown> {
  const [{ Database }, { Keys }, { existsSync }, { join }] = await Promise.all([
    import('../registry/database.ts'),
    import('../access/keys.ts'),
    import('node:fs'),
    import('node:path'),
  ]);
  const file = join(directory, 'registry.sqlite');
  if (!existsSync(file))
    throw new Failure(`${directory} is no data directory: start a gateway on it once ("data" in its config)`);
  const rows = new Database({ file, pathOf: () => '' });
  try {
    return new Keys({ rows, nowMs: Date.now, onChange: () => {} }).create(asked);
  } finally {
    rows.close();
  }
}

function listing(rows: readonly Key[], width: number): string {
  if (rows.length === 0)
    return 'no keys: "stepgate keys NAME --scope admin" makes the first (docs/access.md says who may do what until then)';
  const cells = rows.map((row) => [
    row.id,
    row.name,
    row.scopes.join(','),
    row.models.join(',') || '-',
    row.class ?? '-',
    sayLimits(row),
    sayState(row),
  ]);
  return table(['ID', 'NAME', 'SCOPES', 'MODELS', 'CLASS', 'LIMITS', 'STATE'], cells, width);
}

const sayLimits = ({ perMinute, concurrentMax }: Key): string =>
  [perMinute === null ? [] : `${perMinute}/min`, concurrentMax === null ? [] : `${concurrentMax} at once`]
    .flat()
    .join(', ') || '-';

function sayState({ revokedAt, until, oldSecretUntil }: Key): string {
  const now = Date.now();
  if (revokedAt !== null) return 'revoked';
  if (until !== null && Date.parse(until) <= now) return 'expired';
  if (oldSecretUntil !== null && Date.parse(oldSecretUntil) > now)
    return `good; old secret ${sayUntil(oldSecretUntil)}`;
  return until === null ? 'good' : `good, ${sayUntil(until)}`;
}

const list = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');

function oneOf<T extends string>(known: readonly T[], text: string, option: string): T {
  const found = known.find((one) => one === text);
  if (found !== undefined) return found;
  throw wrong(`${option}: "${text}" is none of ${known.join(', ')}`);
}
