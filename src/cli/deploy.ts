// `stepgate deploy [NAME]`: make, change, list, roll back and remove deployments. Thin over the admin API; what a notebook platform's
// environment comes to is deploy/from-env.ts's.
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import type { z } from 'zod';
import { AdminClient, type AdminOptions, check, withAdmin } from './admin-client.ts';
import { loginName } from './alias.ts';
import { whole } from './arguments.ts';
import { type build, builds, deployment, deployments } from './deploy/answers.ts';
import { wishFromEnv } from './deploy/from-env.ts';
import { Failure, keyHeader, sayAge, type Terminal, table, wrong } from './terminal.ts';

type Build = z.output<typeof build>;
type Deployment = z.output<typeof deployment>;

interface DeployOptions extends AdminOptions {
  readonly target?: string;
  readonly generation?: string;
  /** false: --no-template. */
  readonly template?: string | false;
  readonly chat?: boolean;
  readonly fromEnv?: boolean;
  readonly base?: string;
  readonly rollback?: number;
  readonly remove?: boolean;
  readonly json?: boolean;
}

export function deployCommand(terminal: Terminal): Command {
  return withAdmin(new Command('deploy'))
    .summary('make, change and roll back prediction endpoints')
    .description(
      [
        'With NAME and options, make the deployment NAME or change it: a name for a step',
        'or a base, with generation defaults and a prompt template. It is asked by',
        'POST /v1/deployments/NAME/predict, or by OpenAI clients as "model": "NAME".',
        'What is not given stays as it is; each change is a build.',
        'With NAME alone, list its builds; without, the deployments.',
      ].join('\n'),
    )
    .argument('[name]', 'such as support')
    .option('--target <model>', 'what it leads to: my-model@5, my-model (the newest), my-model@champion, or a base')
    .option('--generation <json>', 'defaults, such as \'{"max_new_tokens": 60, "temperature": 0.2}\', or @FILE')
    .option('--template <text>', 'such as "Q: {prompt}", or @FILE; {{ and }} are braces')
    .option('--no-template', 'send prompts as they are')
    .option('--chat', 'prompts are messages of a chat')
    .option('--no-chat', 'prompts are texts to be completed')
    .option('--from-env', "register and deploy what a Fine Tuning Studio predict script's environment names")
    .option('--base <name>', "with --from-env: the base's name as the engines serve it (default: the environment's)")
    .option('--rollback <build>', 'a copy of this build is the next one', whole(1, 999_999_999))
    .option('--remove', 'remove the deployment and its builds')
    .option('--json', "print the admin API's answer")
    .addHelpText(
      'after',
      '\nExamples:\n  stepgate deploy support --target my-model@5 --generation @generation.json\n  stepgate deploy support --target my-model@10\n  stepgate deploy support\n  stepgate deploy support --rollback 1\n  stepgate deploy --from-env',
    )
    .action((name: string | undefined, options: DeployOptions, self: Command) =>
      act(terminal, { name, options, self }),
    );
}

interface Asked {
  readonly name: string | undefined;
  readonly options: DeployOptions;
  readonly self: Command;
}

async function act(terminal: Terminal, { name, options, self }: Asked): Promise<void> {
  const { target, generation, template, chat, fromEnv, rollback, remove } = options;
  const isChange = [target, generation, template, chat].some((one) => one !== undefined);
  const ways = [isChange || fromEnv, rollback !== undefined, remove].filter(Boolean).length;
  if (ways > 1) self.error('error: give options of a build, --rollback or --remove');
  if (options.base !== undefined && !fromEnv) self.error('error: --base goes with --from-env');
  if (fromEnv && target !== undefined) self.error('error: --from-env says the target itself');
  if (ways === 1 && !fromEnv && name === undefined) self.error('error: NAME is missing: which deployment?');
  const admin = await AdminClient.of(options, terminal);
  const say = (answer: unknown, text: () => string) =>
    terminal.out(options.json ? JSON.stringify(answer, null, 2) : text());
  const by = loginName();

  if (name === undefined && !fromEnv) {
    const answer = await admin.ask('GET', '/deployments');
    return say(answer, () => listing(check(answer, deployments).data, terminal.width));
  }
  if (ways === 0) {
    const [answer, all] = [await admin.ask('GET', path(name)), await admin.ask('GET', `${path(name)}/builds`)];
    const history = check(all, builds).data;
    return say({ ...check(answer, deployment), builds: history }, () =>
      showing(check(answer, deployment), history, terminal.width),
    );
  }
  if (remove) {
    const answer = await admin.ask('DELETE', path(name));
    return say(answer, () => `removed ${name}`);
  }
  if (rollback !== undefined) {
    const answer = await admin.ask('POST', `${path(name)}/rollback`, { build: rollback, by });
    return tell(terminal, answer, options);
  }
  // What is wrong with the options is said before anything is registered.
  const said = {
    ...(target !== undefined && { target }),
    ...(generation !== undefined && { generation: readGeneration(await textOf(generation, '--generation')) }),
    ...(template !== undefined && { template: template === false ? null : await textOf(template, '--template') }),
    ...(chat !== undefined && { chat }),
    by,
  };
  const found = fromEnv ? await wishFromEnv(terminal, admin, { name, base: options.base }) : undefined;
  if (typeof template === 'string' && !template.startsWith('@') && template.includes('\\n'))
    terminal.err(
      'warning: the template has "\\n" as two characters, not the end of a line: write that as it is, or @FILE',
    );
  const wish = { ...found?.wish, ...said };
  const answer = await admin.ask('PATCH', path(name ?? found?.name), wish).catch(async (error: unknown) => {
    await found?.undo();
    throw error;
  });
  return tell(terminal, answer, options);
}

const path = (name = ''): string => `/deployments/${encodeURIComponent(name)}`;

function tell(terminal: Terminal, answer: unknown, options: DeployOptions): void {
  const made = check(answer, deployment);
  for (const warning of made.warnings) terminal.err(`warning: ${warning}`);
  if (made.problem !== null) terminal.err(`warning: ${made.problem}`);
  if (options.json) return terminal.out(JSON.stringify(answer, null, 2));
  const request = { request: Object.fromEntries(made.inputs.map((input) => [input, 'Hello'])) };
  terminal.out(sayTarget(made));
  terminal.out(
    [
      `curl ${made.endpoint} \\`,
      ...["-H 'content-type: application/json'", ...keyHeader(terminal)].map((header) => `  ${header} \\`),
      `  -d '${JSON.stringify(request)}'`,
    ].join('\n'),
  );
}

/** `support is my-model@champion, now my-model@5 (build 3)` */
function sayTarget({ name, target, leadsTo, build }: Deployment): string {
  const leads = leadsTo === null || leadsTo === target ? '' : `, now ${leadsTo}`;
  return `${name} is ${target}${leads} (build ${build})`;
}

function listing(rows: readonly Deployment[], width: number): string {
  if (rows.length === 0) return 'no deployments: "stepgate deploy support --target my-model@5" makes one';
  const cells = rows.map((row) => [
    row.name,
    `${row.build}`,
    row.target,
    row.leadsTo ?? '-',
    sayAgo(row.createdAt),
    row.by,
  ]);
  const problems = rows.flatMap(({ problem }) => problem ?? []);
  return [table(['NAME', 'BUILD', 'TARGET', 'LEADS TO', 'SINCE', 'BY'], cells, width), ...problems].join('\n');
}

function showing(now: Deployment, all: readonly Build[], width: number): string {
  const cells = all.map((row) => [
    `${row.build}`,
    row.target,
    sayAgo(row.createdAt),
    row.by,
    row.copyOf === null ? '-' : `${row.copyOf}`,
    row.chat ? 'chat' : 'text',
    JSON.stringify(row.generation),
  ]);
  return [
    sayTarget(now),
    ...(now.problem === null ? [] : [now.problem]),
    ...(now.template === null ? [] : [`template: ${JSON.stringify(now.template)}`]),
    // Whole: in the table it is cut where the terminal ends.
    ...(Object.keys(now.generation).length === 0 ? [] : [`generation: ${JSON.stringify(now.generation)}`]),
    '',
    table(['BUILD', 'TARGET', 'MADE', 'BY', 'COPY OF', 'AS', 'GENERATION'], cells, width),
  ].join('\n');
}

const sayAgo = (at: string): string => `${sayAge(Date.now() - Date.parse(at))} ago`;

/** As it stands, or of a file. */
async function textOf(text: string, option: string): Promise<string> {
  if (!text.startsWith('@')) return text;
  const file = text.slice(1);
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`${option}: cannot read "${file}": ${error.code === 'ENOENT' ? 'no such file' : error.message}`);
  });
}

function readGeneration(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw wrong(`--generation is no JSON: write for example '{"max_new_tokens": 60}', or @FILE`);
  }
}
