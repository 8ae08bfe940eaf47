// What a person sees of checkpoints at the width of the terminal.
import { describe, expect, test } from 'vitest';
import { notes, type Row, tableOf } from '../../src/cli/ls-table.ts';

const row = (step: number, more: Partial<Row> = {}): Row => ({
  id: '592f8a7b-30e3-456c-bf10-be1164cba93e',
  name: `my-model@${step}`,
  step,
  revision: 1,
  state: 'servable',
  readyOn: ['gpu-0'],
  refusing: [],
  source: '/runs/my-model',
  bytes: 133_000,
  rank: 8,
  base: 'Qwen/Qwen3-8B',
  architecture: 'LlamaForCausalLM',
  library: 'peft 0.17.1',
  createdAt: new Date(Date.now() - 60_000).toISOString(),
  trainLoss: 0.98014,
  evalLoss: 1.08,
  metrics: { loss: 0.98014, eval_loss: 1.08, judge: 7.125e-7 },
  resident: ['gpu-0', 'gpu-1'],
  names: step === 60 ? ['latest', 'best', 'champion'] : [],
  ...more,
});
const rows = [60, 50, 40].map((step) => row(step));
const show = (width: number, more: { metrics?: string[]; wide?: boolean; rows?: Row[] } = {}) =>
  tableOf(more.rows ?? rows, { metrics: more.metrics ?? [], wide: more.wide ?? false }, width);

test('80 columns hold what people compare', () => {
  expect(show(80).text.split('\n')).toEqual([
    'STEP  TRAIN   EVAL  READY  REV  SIZE    AGE    LOADED ON    NAMES',
    '60    0.9801  1.08  yes    1    133 kB  1 min  gpu-0 gpu-1  latest best champion',
    '50    0.9801  1.08  yes    1    133 kB  1 min  gpu-0 gpu-1  -',
    '40    0.9801  1.08  yes    1    133 kB  1 min  gpu-0 gpu-1  -',
  ]);
  expect(show(80).hidden).toEqual([]);
});

test('where there is room the whole name is told, so that it can be copied', () => {
  expect(show(100).text).toMatch(/^NAME .*\nmy-model@60 /);
});

test('where it is narrow the least important columns go, and are named', () => {
  const { text, hidden } = show(60, { metrics: ['judge'] });
  expect(text.split('\n')[0]).toBe('STEP  TRAIN   EVAL  JUDGE     READY  NAMES');
  expect(hidden).toEqual(['REV', 'SIZE', 'AGE', 'LOADED ON']);
});

test.each([20, 40, 60, 79, 80, 120, 200])('no line is wider than %d', (width) => {
  const long = row(1, { name: `${'long'.repeat(30)}@1`, resident: Array.from({ length: 9 }, (_, i) => `gpu-${i}`) });
  const bad = row(2, { state: 'unservable', reasons: ['it is '.repeat(40)] });
  const { text } = show(width, { metrics: ['judge'], rows: [...rows, long, bad] });
  const lines = [text, ...notes([...rows, bad], width)].join('\n').split('\n');
  expect(lines.filter((line) => line.length > width)).toEqual([]);
});

test('--wide tells everything', () => {
  const { text } = show(80, { wide: true });
  for (const word of ['my-model@60', '592f8a7b-30e3', 'LlamaForCausalLM', 'peft 0.17.1', 'Qwen/Qwen3-8B'])
    expect(text).toContain(word);
});

test('a checkpoint without numbers has dashes, and an exact name its name', () => {
  const bare = row(0, { step: null, name: 'champion', trainLoss: null, evalLoss: null, metrics: {}, bytes: null });
  expect(show(80, { rows: [row(60), bare] }).text).toMatch(/^champion +- +- +yes/m);
});

describe('READY', () => {
  const ready = (more: Partial<Row>) => show(80, { rows: [row(5, { resident: [], ...more })] }).text.split('\n')[1];
  test.each<[string, Partial<Row>]>([
    ['yes', {}],
    ['yes\\*', { warnings: ['rank_pattern: ...'] }],
    ['no', { state: 'unservable', reasons: ['DoRA'], readyOn: [] }],
    ['no', { readyOn: [], refusing: [{ name: 'gpu-0', rankMax: 4 }] }],
    ['gpu-1 only', { readyOn: ['gpu-1'], refusing: [{ name: 'gpu-0', rankMax: 4 }] }],
    ['3 engines only', { readyOn: ['a', 'b', 'c'], refusing: [{ name: 'd', rankMax: 4 }] }],
    ['deleted', { state: 'deleted' }],
  ])('says %s', (word, more) => expect(ready(more)).toMatch(new RegExp(` ${word} +1 `)));
});

describe('the sentences under the table', () => {
  test('each is told once, behind the steps of which it is true', () => {
    const bad = Array.from({ length: 8 }, (_, i) =>
      row(80 - i, { state: 'unservable', reasons: ['DoRA is not served.'] }),
    );
    expect(notes(bad, 80)).toEqual(['80, 79, 78, 77, 76 and 3 more: DoRA is not served.']);
  });

  test('limits name the engine and its rank', () => {
    expect(notes([row(5, { rank: 32, refusing: [{ name: 'gpu-0', rankMax: 16 }] })], 80)).toEqual([
      '5: rank 32 is over what these engines serve: gpu-0 (at most 16)',
    ]);
  });

  test('ten are enough', () => {
    const bad = Array.from({ length: 30 }, (_, i) => row(i, { state: 'unservable', reasons: [`reason ${i}`] }));
    expect(notes(bad, 80)).toHaveLength(11);
    expect(notes(bad, 80).at(-1)).toBe('... and 20 other reasons (--json)');
  });
});
