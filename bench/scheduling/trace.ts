// Reads a trace: CSV with a header `time,model,step,prompt_tokens,output_tokens,class` (time in seconds; an empty step is the bare name; an
// empty class is interactive). Columns may come in any order, others are ignored. Says which line is wrong, and how.
import { readFileSync } from 'node:fs';
import { LOCAL_DISK, VLLM_8B } from './costs.ts';
import { CLASSES, type Request, type RequestClass, type Workload } from './types.ts';

const COLUMNS = ['time', 'model', 'step', 'prompt_tokens', 'output_tokens', 'class'] as const;
type Column = (typeof COLUMNS)[number];

export function parseTrace(text: string): Request[] {
  const [header = '', ...lines] = text.trim().split(/\r?\n/);
  const names = header.split(',').map((name) => name.trim().toLowerCase().replaceAll(' ', '_'));
  const places = Object.fromEntries(COLUMNS.map((column) => [column, names.indexOf(column)])) as Record<Column, number>;
  const missing = (['time', 'model', 'prompt_tokens', 'output_tokens'] as const).filter((column) => places[column] < 0);
  if (missing.length > 0)
    throw new Error(`the trace's header lacks ${missing.join(', ')}; it needs ${COLUMNS.join(',')}`);
  const requests = lines.flatMap((line, index) =>
    line.trim() === '' ? [] : [parseLine(line.split(','), places, index + 2)],
  );
  const first = requests.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY);
  return requests.map((request) => ({ ...request, at: request.at - first })).sort((a, b) => a.at - b.at);
}

function parseLine(cells: readonly string[], places: Readonly<Record<Column, number>>, line: number): Request {
  const cell = (column: Column) => cells[places[column]]?.trim() ?? '';
  const number = (column: Column) => {
    const value = Number(cell(column));
    if (cell(column) === '' || !Number.isFinite(value) || value < 0)
      throw new Error(`line ${line} of the trace: ${column} must be a number of at least 0, not "${cell(column)}"`);
    return value;
  };
  const kind = cell('class') === '' ? 'interactive' : cell('class');
  if (!CLASSES.some((known) => known === kind))
    throw new Error(`line ${line} of the trace: class must be one of ${CLASSES.join(', ')}, not "${kind}"`);
  if (cell('model') === '') throw new Error(`line ${line} of the trace: model is empty`);
  return {
    at: number('time') * 1000,
    model: cell('model'),
    step: cell('step') === '' ? undefined : number('step'),
    promptTokens: number('prompt_tokens'),
    outputTokens: Math.max(1, number('output_tokens')),
    class: kind as RequestClass,
    tenant: cell('model'),
    session: undefined,
  };
}

export function traceWorkload(file: string, { backends, slots }: { backends: number; slots: number }): Workload {
  const requests = parseTrace(readFileSync(file, 'utf8'));
  const sweepAt = requests.find((request) => request.class === 'eval')?.at;
  const rest = { load: LOCAL_DISK, costs: VLLM_8B, publications: [], sparse: false };
  return { name: 'trace', backends, slots, requests, sweepAt, ...rest };
}
