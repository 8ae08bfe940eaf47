// The results for people: a table for the terminal (80 columns) and RESULTS.md. Text only.
import { type Goal, othersIn, type Results, verdictOf } from './goals.ts';
import type { Summary } from './measure.ts';
import type { Scenario } from './scenarios.ts';

export interface Setting {
  readonly command: string;
  readonly cpu: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly versions: Readonly<Record<string, string>>;
}

type Row = Results[string];

/** CPU as a ratio to a peer's. */
const times = (one: Summary, other: Summary | undefined): string =>
  other === undefined || other.cpuUs === 0 || one.cpuUs === 0 ? '-' : (one.cpuUs / other.cpuUs).toFixed(2);
const cpu = ({ cpuUs }: Summary): string => (cpuUs === 0 ? '-' : cpuUs.toFixed(cpuUs < 100 ? 1 : 0));
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
const ms = (value: number): string => value.toFixed(Math.abs(value) < 100 ? 2 : 0);
const added = (one: Summary, direct: Summary | undefined, key: 'p50Ms' | 'p99Ms'): string =>
  direct === undefined ? ms(one[key]) : direct === one ? `(${ms(one[key])})` : ms(one[key] - direct[key]);
const wrong = (one: Summary, { unit }: Scenario): string =>
  unit === 'request' ? String(one.failures) : `${one.failures}/${one.late}`;

const WIDTHS = [-13, 7, 7, 8, 6, 8, 9, 9, 6, 7];

function line(cells: readonly string[]): string {
  return cells
    .map((cell, i) => {
      const width = WIDTHS[i] ?? 8;
      return width < 0 ? cell.padEnd(-width) : ` ${cell}`.padStart(width);
    })
    .join('')
    .trimEnd();
}

export function tableOf(scenario: Scenario, row: Row): string {
  const { direct, nginx } = row;
  const plus = direct === undefined ? '' : '+';
  const wrongs = scenario.unit === 'request' ? 'fail' : 'm/late';
  const head = ['', '/s', 'core', 'CPU us', 'range', 'x nginx', `${plus}p50 ms`, `${plus}p99 ms`, 'MB', wrongs];
  const lines = Object.entries(row).map(([name, one]) => {
    const spread = one.cpuUs === 0 ? '-' : percent(one.spread);
    const busy = one.cpuUs === 0 ? '-' : percent(one.busy);
    const late = [added(one, direct, 'p50Ms'), added(one, direct, 'p99Ms')];
    const memory = one.rssMb === 0 ? '-' : one.rssMb.toFixed(0);
    const rate = one.perSecond.toFixed(0);
    return line([name, rate, busy, cpu(one), spread, times(one, nginx), ...late, memory, wrong(one, scenario)]);
  });
  return [`${scenario.id}: ${scenario.title}`, line(head), ...lines].join('\n');
}

export function verdicts(goals: readonly Goal[], results: Results): string {
  const others = othersIn(results);
  if (goals.length === 0) return 'No goal concerns what was measured.';
  return goals.map((one) => `${verdictOf(one, others).padEnd(11)} ${one.goal}\n            ${one.figure}`).join('\n');
}

function markdownTable(scenario: Scenario, row: Row): string {
  const { direct, nginx } = row;
  const router = row['vllm-router'];
  const plus = direct === undefined ? '' : 'added ';
  const what = scenario.unit === 'request' ? '' : `, ${scenario.unit}`;
  const wrongs = scenario.unit === 'request' ? 'failed' : 'missed / late';
  const unit = scenario.unit === 'chunk' ? 'chunk' : 'request';
  const head = `| | ${unit}s/s | core busy | CPU us/${unit} | range | x nginx | x vllm-router | ${plus}p50 ms${what} | ${plus}p99 ms${what} | MB | ${wrongs} |`;
  const lines = Object.entries(row).map(([name, one]) => {
    const none = one.cpuUs === 0;
    const cells = [
      name,
      one.perSecond.toFixed(0),
      none ? '-' : percent(one.busy),
      cpu(one),
      none ? '-' : percent(one.spread),
      times(one, nginx),
      times(one, router),
      added(one, direct, 'p50Ms'),
      added(one, direct, 'p99Ms'),
      none ? '-' : one.rssMb.toFixed(0),
      wrong(one, scenario),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [`### ${scenario.id}: ${scenario.title}`, '', head, `|---|${'---:|'.repeat(10)}`, ...lines, ''].join('\n');
}

export interface Report {
  readonly setting: Setting;
  readonly scenarios: readonly Scenario[];
  readonly results: Results;
  readonly goals: readonly Goal[];
  /** Who was left out of what, and why. */
  readonly notes: readonly string[];
}

export function markdownOf({ setting, scenarios, results, goals, notes }: Report): string {
  const others = othersIn(results);
  const versions = Object.entries(setting.versions).map(([name, version]) => `${name} ${version}`);
  return [
    '# What the gateway costs',
    '',
    `Written by \`${setting.command}\`; how to read it, and how it is measured: [docs/performance.md](../../docs/performance.md).`,
    '',
    `${setting.cpu}; ${versions.join(', ')}. ${setting.rounds === 1 ? 'One round' : `Medians of ${setting.rounds} interleaved rounds`} of ${setting.seconds} s (the two loads of`,
    'streams that are looked at chunk by chunk: fewer and longer). `range`: between the rounds, of CPU. Other processes took at most',
    `${percent(others)} of the measured core${others > 0.05 ? ': **the machine was not quiet, so no goal is decided and the figures are only an order of magnitude**' : ''}.`,
    '',
    '![CPU per request, stepgate and its peers](RESULTS.svg)',
    '',
    '## Goals',
    '',
    '| goal | measured | |',
    '|---|---|---|',
    ...goals.map((one) => `| ${one.goal} | ${one.figure} | ${verdictOf(one, others)} |`),
    '',
    '## Figures',
    '',
    ...notes.map((note) => `- ${note}`),
    ...(notes.length > 0 ? [''] : []),
    ...scenarios.map((scenario) => markdownTable(scenario, results[scenario.id] ?? {})),
  ].join('\n');
}
