// npm run chaos: a chaos run by hand. docs/chaos.md says what it does and how to read a failure.
import { parseArgs } from 'node:util';
import { type ChaosReport, chaos, type TurnReport } from './driver.ts';
import { planOf } from './plan.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    requests: { type: 'string' },
    engines: { type: 'string', default: '3' },
    'requests-each': { type: 'string', default: '4000' },
    plan: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const HELP = `npm run chaos -- [--seed N] [--minutes M | --requests N] [--engines K] [--plan]
  --seed N      replays the decisions of another run (default: from the clock)
  --minutes M   how long (default: 2)
  --requests N  instead of --minutes: how many requests
  --engines K   simulated engines (default: 3)
  --requests-each N  requests of a storm; a quiet stretch has half as many (default: 4000)
  --plan        prints what would happen in the first turns, and ends`;

const number = (text: string | undefined, name: string): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} takes a number over 0`);
};

const seed = number(values.seed, 'seed') ?? Date.now() % 1_000_000;
const engines = number(values.engines, 'engines') ?? 3;
const requestsEach = number(values['requests-each'], 'requests-each') ?? 4000;
const replay = `npm run chaos -- --seed ${seed} --engines ${engines} --requests-each ${requestsEach}`;
if (values.help) console.log(HELP);
else if (values.plan) printPlan();
else await run();

function printPlan(): void {
  for (const turn of planOf({ seed, engines, requestsEach })) {
    if (turn.number === 6) return;
    console.log(`turn ${turn.number}: ${turn.weather}, ${turn.requests.length} requests`);
    for (const { at, deed } of turn.deeds) console.log(`  ${String(at).padStart(5)}  ${JSON.stringify(deed)}`);
  }
}

async function run(): Promise<void> {
  const requestsMax = number(values.requests, 'requests');
  const msMax = (number(values.minutes, 'minutes') ?? 2) * 60_000;
  console.log(`seed ${seed}, ${engines} engines; replay: ${replay}`);
  const report = await chaos({
    seed,
    engines,
    requestsEach,
    ...(requestsMax === undefined ? { msMax } : { requestsMax }),
    onTurn: say,
    onComplaint,
  });
  conclude(report);
}

function onComplaint(complaint: string): void {
  console.log(`WRONG: ${complaint}`);
}

function say({ turn, tookMs, outcomes, waits, heapMb, residentMb }: TurnReport): void {
  const perSecond = Math.round((turn.requests.length / tookMs) * 1000);
  const rest = [...outcomes].filter(([outcome]) => outcome !== 'ok').sort(([, a], [, b]) => b - a);
  const longest =
    waits === undefined ? '' : `; longest wait ${waits.longestMs.toFixed(0)} of ${waits.boundMs.toFixed(0)} ms`;
  console.log(
    `turn ${turn.number} ${turn.weather}: ${turn.requests.length} requests, ${perSecond}/s, ${outcomes.get('ok') ?? 0} ok${longest}; ${heapMb.toFixed(1)} MB of heap, ${residentMb.toFixed(0)} MB`,
  );
  if (rest.length > 0) console.log(`  ${rest.map(([outcome, count]) => `${count} ${outcome}`).join(', ')}`);
}

function conclude({ requests, turns, kills, deeds, tookMs, outcomes, complaints }: ChaosReport): void {
  const perSecond = Math.round((requests / tookMs) * 1000);
  console.log(
    `\n${requests} requests, ${turns} turns, ${deeds} deeds, ${kills} restarts of the gateway, ${perSecond} requests/s`,
  );
  for (const [outcome, count] of [...outcomes].sort(([, a], [, b]) => b - a))
    console.log(`  ${String(count).padStart(8)}  ${outcome}`);
  if (complaints.length === 0) return console.log('nothing wrong');
  console.log(`\n${replay}`);
  process.exitCode = 1;
}
