// The results for people: medians over seeds, one row per workload and policy. Text only.
import { type ByClass, CLASSES, type Result } from './types.ts';

/** A result whose numbers are medians over its seeds. */
export function median(results: readonly Result[]): Result | undefined {
  const [first] = results;
  if (first === undefined) return undefined;
  const middle = (values: readonly number[]) =>
    values.toSorted((a, b) => a - b)[(values.length - 1) >> 1] ?? Number.NaN;
  const of = (key: 'loadsPer1000' | 'diskLoadsPer1000' | 'waitMsMax' | 'goodput' | 'decisionUs') =>
    middle(results.map((one) => one[key]));
  const maybe = (
    key: 'loadsRatio' | 'makespanRatio' | 'publishToReadyMs' | 'publishToFirstMs' | 'publishExtraP99Ms',
  ) => {
    const known = results.flatMap((one) => one[key] ?? []);
    return known.length === 0 ? null : middle(known);
  };
  const byClass = (key: 'ttftMsP50' | 'ttftMsP99') =>
    Object.fromEntries(
      CLASSES.flatMap((kind) => {
        const known = results.flatMap((one) => one[key][kind] ?? []);
        return known.length === 0 ? [] : [[kind, middle(known)]];
      }),
    );
  return {
    ...first,
    loadsPer1000: of('loadsPer1000'),
    diskLoadsPer1000: of('diskLoadsPer1000'),
    loadsRatio: maybe('loadsRatio'),
    ttftMsP50: byClass('ttftMsP50'),
    ttftMsP99: byClass('ttftMsP99'),
    waitMsMax: of('waitMsMax'),
    makespanRatio: maybe('makespanRatio'),
    goodput: of('goodput'),
    publishToReadyMs: maybe('publishToReadyMs'),
    publishToFirstMs: maybe('publishToFirstMs'),
    publishExtraP99Ms: maybe('publishExtraP99Ms'),
    decisionUs: of('decisionUs'),
    refused: Math.max(...results.map((one) => one.refused)),
    violations: results.reduce((sum, one) => sum + one.violations, 0),
  };
}

const seconds = (ms: number | null | undefined): string =>
  ms === null || ms === undefined ? '-' : ms < 9950 ? (ms / 1000).toFixed(2) : (ms / 1000).toFixed(0);
const ratio = (value: number | null): string => (value === null ? '-' : value.toFixed(2));
const pair = (p50: ByClass, p99: ByClass, kind: (typeof CLASSES)[number]): string =>
  p50[kind] === undefined ? '-' : `${seconds(p50[kind])}/${seconds(p99[kind])}`;

const HEAD = [
  'policy',
  'loads',
  'x bound',
  ...CLASSES.map((kind) => `${kind} s`),
  'wait s',
  'makespan',
  'goodput',
  'publish s',
  '+p99 s',
  'us',
  'violations',
];
const WIDTHS = [-13, 7, 8, 14, 12, 12, 8, 9, 8, 12, 8, 7, 11];

export function tableOf(workload: string, rows: readonly Result[]): string {
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => ((WIDTHS[at] ?? 0) < 0 ? cell.padEnd(-(WIDTHS[at] ?? 0)) : cell.padStart(WIDTHS[at] ?? 0)))
      .join('');
  const body = rows.map((row) =>
    line([
      row.policy,
      row.loadsPer1000.toFixed(row.loadsPer1000 < 10 ? 1 : 0),
      row.policy === 'CACHED' ? '-' : ratio(row.loadsRatio),
      ...CLASSES.map((kind) => pair(row.ttftMsP50, row.ttftMsP99, kind)),
      seconds(row.waitMsMax),
      ratio(row.makespanRatio),
      `${(100 * row.goodput).toFixed(1)}%`,
      row.publishToReadyMs === null ? '-' : `${seconds(row.publishToFirstMs)}/${seconds(row.publishToReadyMs)}`,
      seconds(row.publishExtraP99Ms),
      row.decisionUs.toFixed(1),
      String(row.violations),
    ]),
  );
  const title = `${workload} (${rows[0]?.requests ?? 0} requests)`;
  return [title, line(HEAD), ...body].join('\n');
}

export const LEGEND =
  "loads: adapters brought into a slot per 1000 requests; x bound: those over the bound; class columns: p50/p99 time to first token; wait: the longest;\nmakespan: of the sweep over its bound; goodput: first token within 2/10/60 s; publish: until the first / 90 % of first tokens are the new step's;\n+p99: of rollouts while a step changes, less that of the others; us: per decision";
