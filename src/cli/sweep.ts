// `stepgate sweep STEPS --requests FILE`: the same requests to many steps, one file of answers for each. Reads and checks everything, says what it will
// do, runs it (sweep/run.ts) and tells how it went. What is answered already is not asked again.
import { Command } from 'commander';
import { z } from 'zod';
import { publicUrl } from './addresses.ts';
import { AdminClient, type AdminOptions, checkpoint, models, withAdmin } from './admin-client.ts';
import { loginName } from './alias.ts';
import { whole } from './arguments.ts';
import type { Work } from './sweep/agenda.ts';
import { Announcement } from './sweep/announcement.ts';
import { lock } from './sweep/lock.ts';
import { Progress, sumTable } from './sweep/progress.ts';
import { type RequestsFile, readRequests } from './sweep/requests.ts';
import { fileName, Results, type StepSum, type Summary } from './sweep/results.ts';
import { Run } from './sweep/run.ts';
import { chooseSteps, parseSteps, sayNumbers, type Wanted } from './sweep/steps.ts';
import { Failure, type Terminal, wrong } from './terminal.ts';

interface SweepOptions extends AdminOptions {
  readonly requests: string;
  readonly out?: string;
  readonly url?: string;
  readonly concurrency: number;
  readonly patience: number;
  readonly again?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function sweepCommand(terminal: Terminal): Command {
  return withAdmin(new Command('sweep'))
    .summary('run a file of requests over many steps, resumably')
    .description(
      'Ask every step the same requests, step after step, and write one file of answers\nfor each. Run again after a stop, it asks only for what is missing or has failed.',
    )
    .argument('<steps>', 'my-model@10..200, my-model@10..200:10 (every 10), my-model@10,20,50, my-model@*')
    .requiredOption(
      '--requests <file>',
      'JSONL: a body each line ({"messages": ...}, {"prompt": ...}), or OpenAI batch lines',
    )
    .option('--out <dir>', 'where the answers go (default: sweep-MODEL)')
    .option('--url <url>', 'where the gateway serves (default: http://127.0.0.1:8080)')
    .option('--concurrency <n>', 'requests at once, over all steps', whole(1, 100_000), 64)
    .option('--patience <seconds>', 'give up when the gateway has answered nothing for so long', whole(1, 999_999), 600)
    .option('--again', 'forget the answers that are there, and start over')
    .option('--dry-run', 'show what would run')
    .option('--json', 'print the summary as JSON')
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        '  stepgate sweep my-model@10..200 --requests prompts.jsonl',
        '  stepgate sweep my-model@* --requests batch.jsonl --out answers --dry-run',
        '  stepgate ps                       how far it is, from anywhere',
        '',
        'Exit codes: 0 everything was answered, 1 something failed or is missing, 2 wrong',
        'steps or a wrong file (nothing was run).',
      ].join('\n'),
    )
    .action((steps: string, options: SweepOptions) => sweep(parseSteps(steps), options, terminal));
}

/** What there is to do. */
interface Plan {
  readonly model: string;
  readonly requests: RequestsFile;
  readonly results: Results;
  /** Every step, those that are done too. */
  readonly work: readonly Work[];
  readonly sums: Map<number, StepSum>;
  readonly passedOver: readonly string[];
  /** Engines that the steps can be loaded on. */
  readonly abreast: number;
}

async function sweep(wanted: Wanted, options: SweepOptions, terminal: Terminal): Promise<void> {
  const { concurrency } = options;
  const patienceMs = options.patience * 1000;
  const requests = await readRequests(options.requests);
  const url = await publicUrl(options);
  const admin = await AdminClient.of(options, terminal);
  const say = (text: string) => (options.json ? terminal.err(text) : terminal.out(text));
  const plan = () => planOf(wanted, { admin, requests, options });
  const looked = await plan();
  say(sayPlan(looked));
  if (options.dryRun) return;
  await reach(url);
  const unlock = lock(looked.results.directory);
  try {
    await run(await plan(), { admin, url, concurrency, patienceMs, terminal, quiet: options.json === true });
  } finally {
    unlock();
  }
}

/** What was planned before the directory was ours may be done meanwhile: so the plan is made again. */
async function run(plan: Plan, means: Means): Promise<void> {
  plan.results.prepare(plan.sums);
  const stopped = await carryOut(plan, means);
  const summary = plan.results.save(plan.sums);
  tell(plan, { summary, terminal: means.terminal, json: means.quiet });
  conclude(plan, stopped);
}

async function planOf(
  wanted: Wanted,
  { admin, requests, options }: { admin: AdminClient; requests: RequestsFile; options: SweepOptions },
): Promise<Plan> {
  const { model } = wanted;
  const known = (await admin.get('/models', models)).data.map(({ name }) => name);
  if (!known.includes(model))
    throw wrong(`no model ${model} is known; there ${known.length > 0 ? `is ${known.join(', ')}` : 'is none yet'}`);
  const listed = await admin.get(`/models/${encodeURIComponent(model)}/checkpoints?limit=100000`, Listed);
  const { steps, passedOver } = chooseSteps(wanted, listed.data);
  const directory = options.out ?? `sweep-${fileName(model)}`;
  const results = new Results(directory, { model, requests, again: options.again === true });
  const sums = new Map<number, StepSum>();
  const work = steps.map(({ step, name, id }) => {
    const { ok, tokens } = results.doneOf(step, id);
    sums.set(step, { checkpoint: id, ok: ok.size, failed: 0, tokens, seconds: results.secondsOf(step) });
    return { step, name, requests: requests.requests.filter(({ customId }) => !ok.has(customId)) };
  });
  const abreast = Math.max(1, ...steps.map(({ readyOn }) => readyOn.length));
  return { model, requests, results, work, sums, passedOver, abreast };
}

const Listed = z.object({ data: z.array(checkpoint) });

function sayPlan({ model, requests, results, work, sums, passedOver }: Plan): string {
  const each = requests.requests.length;
  const numbers = work.map(({ step }) => step);
  const done = [...sums.values()].reduce((sum, { ok }) => sum + ok, 0);
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  return [
    `${model}: ${count(numbers.length, 'step')} (${sayNumbers(numbers)}), ${count(each, 'request')} each, to ${results.directory}/`,
    ...(passedOver.length > 0 ? [`not servable, so left out: ${passedOver.join(', ')}`] : []),
    ...(done > 0
      ? [`${done} of ${each * numbers.length} are answered already: ${each * numbers.length - done} to ask`]
      : []),
  ].join('\n');
}

/** Better now than after a long wait. @throws Failure */
async function reach(url: string): Promise<void> {
  const answer = await fetch(`${url}/ready`).catch(() => undefined);
  if (answer === undefined || (answer.status !== 200 && answer.status !== 503))
    throw new Failure(`no gateway serves at ${url}: name where its models are with --url`);
}

interface Means {
  readonly admin: AdminClient;
  readonly url: string;
  readonly concurrency: number;
  readonly patienceMs: number;
  readonly terminal: Terminal;
  readonly quiet: boolean;
}

/** @returns why it ended early */
async function carryOut(plan: Plan, means: Means): Promise<string | undefined> {
  const { work, sums, requests } = plan;
  const { terminal, concurrency } = means;
  const each = requests.requests.length;
  const toCome = () => work.map(({ step }) => ({ step, left: each - answeredOf(sums.get(step)) }));
  if (toCome().every(({ left }) => left === 0)) return undefined;
  const stop = new AbortController();
  void terminal.stopped().then(() => stop.abort());
  const announcement = new Announcement(means.admin, terminal, { model: plan.model, owner: loginName() });
  await announcement.make(toCome());
  const extent = {
    steps: work.length,
    stepsDone: toCome().filter(({ left }) => left === 0).length,
    requests: each * work.length,
    requestsDone: [...sums.values()].reduce((sum, one) => sum + one.ok, 0),
  };
  const watcher = new Progress(terminal, extent, {
    quiet: means.quiet,
    onRecovered: () => void announcement.renew(toCome()),
  });
  // Imported only here: the other commands start sooner without undici.
  const { Sender } = await import('./sweep/send.ts');
  const sender = new Sender({ url: means.url, key: terminal.key, connections: concurrency });
  try {
    return await new Run({
      ...plan,
      ...means,
      sender,
      watcher,
      stop: stop.signal,
      sweepId: () => announcement.id,
    }).carryOut();
  } finally {
    watcher.end();
    await sender.close();
    await announcement.end();
  }
}

const answeredOf = (sum: StepSum | undefined): number => (sum?.ok ?? 0) + (sum?.failed ?? 0);

function tell(plan: Plan, { summary, terminal, json }: { summary: Summary; terminal: Terminal; json: boolean }): void {
  if (json) return terminal.out(JSON.stringify(summary, null, 2));
  const each = plan.requests.requests.length;
  const rows = plan.work.flatMap(({ step, name }) => {
    const sum = plan.sums.get(step);
    return sum === undefined ? [] : [{ ...sum, name, missing: each - answeredOf(sum) }];
  });
  terminal.out(`\n${sumTable(rows, terminal.width)}\n`);
  const [first] = plan.work;
  if (first !== undefined) terminal.out(`answers: ${plan.results.fileOf(first.step)}${rows.length > 1 ? ', ...' : ''}`);
}

/** @throws Failure that says how to go on, unless everything was answered well */
function conclude({ work, sums, requests }: Plan, stopped: string | undefined): void {
  const all = requests.requests.length * work.length;
  const [ok, failed] = (['ok', 'failed'] as const).map((field) =>
    [...sums.values()].reduce((total, sum) => total + sum[field], 0),
  ) as [number, number];
  if (ok === all) return;
  const missing = all - ok - failed;
  const how = 'the same command goes on from here';
  if (stopped === 'stopped') throw new Failure(`stopped with ${ok} of ${all} answered; ${how}`);
  if (stopped !== undefined)
    throw new Failure(`gave up (${stopped}) with ${ok} of ${all} answered, ${missing} missing; ${how}`);
  throw new Failure(
    `${failed} of ${all} failed; the files say why ("error", or "response.status_code"). The same command asks for these again`,
  );
}
