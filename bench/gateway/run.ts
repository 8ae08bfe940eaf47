// The gateway's cost on one core beside its peers' on the same core, and beside the engine called directly.
// Interleaved rounds and medians, since machines drift; the ratios are the result, the rates belong to the machine.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type Contender, Ring } from './contenders.ts';
import { goalsOf, othersIn, type Results, voidBecause } from './goals.ts';
import { type Round, round, type Summary, summary } from './measure.ts';
import { missingProgram, PEERS } from './peers.ts';
import { pictureOf } from './picture.ts';
import { markdownOf, type Setting, tableOf, verdicts } from './report.ts';
import { nameOf, SCENARIOS, type Scenario } from './scenarios.ts';
import { soak } from './soak.ts';

const USAGE = `npm run bench:gateway -- [--quick] [--against NAMES] [--only SCENARIOS] [--json FILE] [--write] [--soak N]
  --quick            two to three minutes: fewer scenarios, shorter rounds, without the slowest peers
  --against NAMES    direct,${Object.keys(PEERS).join(',')},stepgate; peers are installed when asked for.
                     "stepgate --max-semi-space-size=16": told this to Node instead of what is shipped
  --only SCENARIOS   ${SCENARIOS.map(({ id }) => id).join(',')}
  --rounds N         of each scenario and contender, after one that warms up
  --json FILE        the figures
  --write            writes bench/gateway/RESULTS.md and RESULTS.svg
  --soak N           instead: the heap after 100,000 requests and after N`;

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    against: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
    soak: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const ROUNDS = Number(flags.rounds ?? (flags.quick ? 2 : 5));
const SECONDS = flags.quick ? 1 : 3;
const QUICK = ['direct', 'nginx', 'vllm-router', 'stepgate'];
const contenders = flags.against?.split(',') ?? (flags.quick ? QUICK : ['direct', ...Object.keys(PEERS), 'stepgate']);

/** Who was left out of what, and why. */
const notes: string[] = [];

/** Why it cannot run here. */
function obstacle(): string | undefined {
  if (cpus().length < 2) return 'two cores are needed: one for the load and the engine, one for what is measured';
  return missingProgram('wrk', 'wrk') ?? missingProgram('taskset', 'util-linux');
}

async function enter(ring: Ring): Promise<Contender[]> {
  const all: Contender[] = [];
  for (const name of contenders) {
    if (name === 'direct') all.push(ring.direct());
    else if (name === 'stepgate') all.push(await ring.stepgate(name, { known: 100 }));
    else if (name.startsWith('stepgate '))
      all.push(await ring.stepgate(name, { known: 100, node: name.split(' ').slice(1) }));
    else
      await ring.peer(name).then(
        (peer) => all.push(peer),
        (error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          notes.push(`${name} did not take part: ${why.split('\n')[0]}`);
          console.error(`without ${name}: ${why}`);
        },
      );
  }
  return all;
}

/** A JIT needs some 80,000 requests: until then each costs up to twice as much. A gateway serves for weeks; its first seconds are not its price. */
const WARM_SECONDS = 6;
const JIT = /^(stepgate|portkey|[\d,]+ known)$/;

async function warm({ name, ...rest }: Contender): Promise<void> {
  const load = SCENARIOS.find(({ id }) => id === 'json-64')?.load;
  if (load !== undefined && JIT.test(name)) await round({ name, ...rest }, load, WARM_SECONDS);
}

async function measure(ring: Ring, all: readonly Contender[], scenario: Scenario): Promise<Results[string]> {
  const own: Contender[] = [];
  for (const known of scenario.known ?? []) own.push(await ring.stepgate(nameOf(known), { known }));
  for (const contender of own) await warm(contender);
  const field = scenario.known ? own : all.filter(({ name }) => !scenario.without?.includes(name));
  const seconds = scenario.seconds?.[flags.quick ? 'quick' : 'whole'] ?? SECONDS;
  // A long round is its own repetition.
  const rounds = scenario.seconds === undefined ? ROUNDS : Math.ceil(ROUNDS / 3);
  const measured = new Map<string, Round[]>(field.map(({ name }) => [name, []]));
  // The first round warms caches, and is thrown away.
  for (let i = 0; i <= rounds; i++)
    for (const contender of field) {
      const one = await round(contender, scenario.load, i === 0 ? Math.min(2, seconds) : seconds);
      if (i > 0) measured.get(contender.name)?.push(one);
    }
  for (const contender of own) await ring.drop(contender);
  const row: Record<string, Summary> = {};
  for (const [name, list] of measured) {
    const one = summary(list);
    const why = voidBecause(name, one);
    if (why === undefined) row[name] = one;
    else notes.push(`${scenario.id}: ${why}`);
  }
  return row;
}

function settingOf(all: readonly Contender[]): Setting {
  const wrk = execFileSync('sh', ['-c', 'wrk -v 2>&1 | head -1'], { encoding: 'utf8' });
  const versions = Object.fromEntries(
    all.filter(({ version }) => version !== '').map((one) => [one.name, one.version]),
  );
  // Where the figures were put belongs to the machine.
  const args = process.argv.slice(2).filter((arg, i, all) => ![arg, all[i - 1]].includes('--json'));
  return {
    command: ['npm run bench:gateway', ...(args.length > 0 ? ['--', ...args] : [])].join(' '),
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? '?'}`,
    rounds: ROUNDS,
    seconds: SECONDS,
    versions: { node: process.versions.node, wrk: /wrk \S*?([\d.]+)/.exec(wrk)?.[1] ?? '?', ...versions },
  };
}

async function compare(): Promise<void> {
  const wanted = flags.only?.split(',');
  const scenarios = SCENARIOS.filter(({ id, quick }) => wanted?.includes(id) ?? (quick || !flags.quick));
  const ring = await Ring.open();
  try {
    const all = await enter(ring);
    for (const contender of all) await warm(contender);
    const results: Results = {};
    for (const scenario of scenarios) {
      results[scenario.id] = await measure(ring, all, scenario);
      console.log(`\n${tableOf(scenario, results[scenario.id] ?? {})}`);
    }
    const setting = settingOf(all);
    const goals = goalsOf(results);
    const others = othersIn(results);
    const quiet = `others took up to ${(100 * others).toFixed(0)} % of the measured core`;
    console.log(['', ...notes, quiet, verdicts(goals, results)].join('\n'));
    if (flags.json)
      writeFileSync(flags.json, `${JSON.stringify({ setting, others, results, goals, notes }, null, 2)}\n`);
    if (flags.write) {
      writeFileSync(new URL('RESULTS.md', import.meta.url), markdownOf({ setting, scenarios, results, goals, notes }));
      writeFileSync(new URL('RESULTS.svg', import.meta.url), pictureOf(results));
    }
  } finally {
    await ring.close();
  }
}

const why = obstacle();
if (flags.help) console.log(USAGE);
else if (why !== undefined) {
  console.error(why);
  process.exitCode = 1;
} else if (flags.soak !== undefined) await soak(Number(flags.soak));
else await compare();
