// What the gateway is to reach, as ratios of figures of one run. A goal is left out where its peers or scenarios were.
import type { Summary } from './measure.ts';
import { nameOf } from './scenarios.ts';

/** By scenario, then by contender. */
export type Results = Record<string, Readonly<Record<string, Summary>>>;

/** More failures than this, and its figures are those of its errors. */
const FAILED_SHARE_MAX = 0.01;

/** Why a peer's figures are not to be compared; stepgate's always are, and its failures count against it. */
export function voidBecause(name: string, { failedShare, others }: Summary): string | undefined {
  if (isOurs(name) || name === 'direct' || failedShare <= FAILED_SHARE_MAX) return undefined;
  return `${name} is left out: ${(100 * failedShare).toFixed(0)} % of what it was asked for failed (others took ${(100 * others).toFixed(0)} % of its core)`;
}

const isOurs = (name: string): boolean => name.startsWith('stepgate') || name.endsWith(' known');

export interface Goal {
  readonly goal: string;
  readonly figure: string;
  readonly reached: boolean;
}

/** Of a core that others took while it was measured: above this neither times nor ratios hold, and no goal is decided. */
const OTHERS_MAX = 0.05;

/** The most that others took in a scenario, 0 to 1. */
export const othersIn = (results: Results): number =>
  Math.max(0, ...Object.values(results).flatMap((row) => Object.values(row).map(({ others }) => others)));

export const verdictOf = (goal: Goal, others: number): string =>
  others > OTHERS_MAX ? 'undecided' : goal.reached ? 'reached' : 'NOT reached';

export function goalsOf(results: Results): Goal[] {
  const all = [
    ...['json-16', 'json-64'].flatMap((id) => [
      ratio(results, { id, peer: 'vllm-router', atMost: 1 }),
      ratio(results, { id, peer: 'nginx', atMost: 2.2 }),
    ]),
    ratio(results, { id: 'stream-16', peer: 'vllm-router', atMost: 0.8 }),
    tail(results),
    firstToken(results),
    ...[
      ['portkey', 7],
      ['litellm', 100],
    ].map(([peer, atLeast]) => faster(results, String(peer), Number(atLeast))),
    ...slowStreams(results),
    known(results),
    unfailing(results),
  ];
  return all.filter((goal) => goal !== undefined);
}

interface Bound {
  readonly id: string;
  readonly peer: string;
  readonly atMost: number;
}

function ratio(results: Results, { id, peer, atMost }: Bound): Goal | undefined {
  const [ours, its] = [results[id]?.stepgate, results[id]?.[peer]];
  if (ours === undefined || its === undefined) return undefined;
  const times = ours.cpuUs / its.cpuUs;
  const goal = `CPU per request, ${id}: at most ${atMost.toFixed(1)} x ${peer}`;
  return { goal, figure: `${times.toFixed(2)} x`, reached: times <= atMost };
}

const added = (row: Results[string] | undefined, name: string): number | undefined => {
  const [direct, one] = [row?.direct, row?.[name]];
  return direct === undefined || one === undefined ? undefined : one.p99Ms - direct.p99Ms;
};

function tail(results: Results): Goal | undefined {
  const [ours, its] = [added(results['json-64'], 'stepgate'), added(results['json-64'], 'vllm-router')];
  if (ours === undefined || its === undefined) return undefined;
  const goal = "p99 added, json-64: no worse than vllm-router's";
  return { goal, figure: `${ours.toFixed(2)} ms, ${its.toFixed(2)} ms`, reached: ours <= its };
}

function firstToken(results: Results): Goal | undefined {
  const ours = added(results['first-token'], 'stepgate');
  if (ours === undefined) return undefined;
  const goal = 'p99 added to the first token at 1,000 requests/s: under 1 ms';
  return { goal, figure: `${ours.toFixed(2)} ms`, reached: ours < 1 };
}

function faster(results: Results, peer: string, atLeast: number): Goal | undefined {
  const [ours, its] = [results['json-16']?.stepgate, results['json-16']?.[peer]];
  if (ours === undefined || its === undefined) return undefined;
  const times = its.cpuUs / ours.cpuUs;
  const goal = `requests per second of a core, json-16: at least ${atLeast} x ${peer}`;
  return { goal, figure: `${times.toFixed(1)} x`, reached: times >= atLeast };
}

function slowStreams(results: Results): Goal[] {
  const ours = results['slow-streams']?.stepgate;
  if (ours === undefined) return [];
  const { failures, late, rssMb } = ours;
  return [
    {
      goal: '1,000 slow streams on one core: no chunk missed or late',
      figure: `${failures} missed, ${late} late`,
      reached: failures + late === 0,
    },
    { goal: '1,000 slow streams: under 150 MB', figure: `${rssMb.toFixed(0)} MB`, reached: rssMb < 150 },
  ];
}

/** What rounds differ by from one to the next. */
const NOISE = 0.05;

function known(results: Results): Goal | undefined {
  const row = results.known;
  const [one, many] = [row?.[nameOf(1)], row?.[nameOf(10_000)]];
  if (one === undefined || many === undefined) return undefined;
  const times = many.cpuUs / one.cpuUs;
  const goal = '10,000 known checkpoints beside 1: no more than noise (5 %)';
  return { goal, figure: `${times.toFixed(2)} x CPU`, reached: times <= 1 + NOISE };
}

/** Of stepgate's; a peer that fails is left out of the scenario. */
function unfailing(results: Results): Goal | undefined {
  const ours = Object.values(results).flatMap((row) =>
    Object.entries(row).flatMap(([name, one]) => (isOurs(name) ? [one] : [])),
  );
  if (ours.length === 0) return undefined;
  const failures = ours.reduce((sum, one) => sum + one.failures, 0);
  return { goal: 'nothing failed, in any scenario', figure: `${failures} failures`, reached: failures === 0 };
}
