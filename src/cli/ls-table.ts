// The table of checkpoints: which columns there are, which of them fit the terminal, and the sentences under it. Pure.
import type { z } from 'zod';
import type { checkpoint } from './admin-client.ts';
import { sayAge, sayBytes, table } from './terminal.ts';

export type Row = z.output<typeof checkpoint>;

interface Column {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** The one with the least goes first where the terminal is too narrow. 0: shown with --wide only. */
  readonly weight: number;
}

const GAP = 2;
const NOTHING = '-';
/** Names that are listed before a sentence; the rest is counted. */
const NAMED_MAX = 5;
const NOTES_MAX = 10;

const NAME: Column = { title: 'NAME', cell: ({ name }) => name, weight: Number.POSITIVE_INFINITY };
/** In place of the name where that is too wide: the model was named by who asks. */
const STEP: Column = {
  title: 'STEP',
  cell: ({ step, name }) => (step == null ? name : `${step}`),
  weight: Number.POSITIVE_INFINITY,
};

const columnsOf = (metrics: readonly string[]): readonly Column[] => [
  { title: 'TRAIN', cell: ({ trainLoss }) => sayNumber(trainLoss), weight: 6 },
  { title: 'EVAL', cell: ({ evalLoss }) => sayNumber(evalLoss), weight: 7 },
  ...metrics.map((name) => ({
    title: name.toUpperCase(),
    cell: (row: Row) => sayNumber(Object.hasOwn(row.metrics, name) ? row.metrics[name] : undefined),
    weight: 10,
  })),
  { title: 'READY', cell: sayReady, weight: 9 },
  { title: 'REV', cell: ({ revision }) => `${revision}`, weight: 2 },
  { title: 'SIZE', cell: ({ bytes }) => (bytes == null ? NOTHING : sayBytes(bytes)), weight: 3 },
  { title: 'AGE', cell: ({ createdAt }) => sayAge(Date.now() - Date.parse(createdAt)), weight: 4 },
  { title: 'LOADED ON', cell: ({ resident }) => resident.join(' ') || NOTHING, weight: 5 },
  { title: 'NAMES', cell: ({ names }) => names.join(' ') || NOTHING, weight: 8 },
  { title: 'RANK', cell: ({ rank }) => (rank == null ? NOTHING : `${rank}`), weight: 0 },
  { title: 'BASE', cell: ({ base }) => base ?? NOTHING, weight: 0 },
  { title: 'ARCHITECTURE', cell: ({ architecture }) => architecture ?? NOTHING, weight: 0 },
  { title: 'LIBRARY', cell: ({ library }) => library ?? NOTHING, weight: 0 },
  { title: 'ID', cell: ({ id }) => id, weight: 0 },
];

/** `hidden`: titles of the columns that did not fit, without those that are for --wide alone. */
export function tableOf(
  rows: readonly Row[],
  { metrics, wide }: { readonly metrics: readonly string[]; readonly wide: boolean },
  width: number,
): { readonly text: string; readonly hidden: readonly string[] } {
  const all = columnsOf(metrics).map((column) => ({ ...column, cells: rows.map(column.cell) }));
  const first = (column: Column) => ({ ...column, cells: rows.map(column.cell) });
  if (wide) return { text: print([first(NAME), ...all], Number.POSITIVE_INFINITY), hidden: [] };
  let shown = [first(NAME), ...all.filter(({ weight }) => weight > 0)];
  if (widthOf(shown) > width) shown = [first(STEP), ...shown.slice(1)];
  const hidden: string[] = [];
  while (widthOf(shown) > width && shown.length > 1) {
    const least = shown.reduce((a, b) => (worth(b) < worth(a) ? b : a));
    if (worth(least) > 0) hidden.push(least.title);
    shown = shown.filter((column) => column !== least);
  }
  return { text: print(shown, width), hidden };
}

type Filled = Column & { readonly cells: readonly string[] };

/** A column that says nothing is the first to go. */
const worth = ({ weight, cells }: Filled): number => (cells.every((cell) => cell === NOTHING) ? 0 : weight);

const widthOf = (columns: readonly Filled[]): number =>
  columns.reduce(
    (sum, { title, cells }) => sum + GAP + cells.reduce((most, cell) => Math.max(most, cell.length), title.length),
    -GAP,
  );

function print(columns: readonly Filled[], width: number): string {
  const rows = (columns[0]?.cells ?? []).map((_, index) => columns.map(({ cells }) => cells[index] ?? ''));
  return table(
    columns.map(({ title }) => title),
    rows,
    width,
  );
}

function sayReady({ state, readyOn, refusing, warnings }: Row): string {
  if (state !== 'servable') return state === 'deleted' ? 'deleted' : 'no';
  const mark = warnings?.length ? '*' : '';
  if (refusing.length === 0) return `yes${mark}`;
  if (readyOn.length === 0) return 'no';
  return `${readyOn.length <= 2 ? readyOn.join(' ') : `${readyOn.length} engines`} only${mark}`;
}

/** Four digits, as few as say it: 0.4123, 12.5, 1.2e-7. */
function sayNumber(value: number | null | undefined): string {
  return value == null ? NOTHING : `${Number(value.toPrecision(4))}`;
}

/** Why some are not ready, or only perhaps: each sentence once, behind those of which it is true. */
export function notes(rows: readonly Row[], width: number): readonly string[] {
  const told = new Map<string, string[]>();
  for (const row of rows) {
    for (const sentence of sentencesOf(row)) {
      const named = told.get(sentence) ?? [];
      named.push(STEP.cell(row));
      told.set(sentence, named);
    }
  }
  const lines = [...told].map(([sentence, named]) => {
    const rest = named.length > NAMED_MAX ? ` and ${named.length - NAMED_MAX} more` : '';
    return wrap(`${named.slice(0, NAMED_MAX).join(', ')}${rest}: ${sentence}`, width);
  });
  const left = lines.length - NOTES_MAX;
  return left > 0 ? [...lines.slice(0, NOTES_MAX), `... and ${left} other reasons (--json)`] : lines;
}

function sentencesOf({ state, reasons, warnings, refusing, rank }: Row): readonly string[] {
  if (state === 'unservable') return reasons ?? [];
  if (state !== 'servable') return [];
  const limits = refusing.map(({ name, rankMax }) => `${name} (at most ${rankMax})`).join(', ');
  return [
    ...(refusing.length === 0 ? [] : [`rank ${rank} is over what these engines serve: ${limits}`]),
    ...(warnings ?? []).map((warning) => `* ${warning}`),
  ];
}

/** Lines of at most `width`, those after the first set in. */
function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `  ${word}`;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
