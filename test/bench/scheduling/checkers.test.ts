// The bench's laws have teeth: what starves breaks the bound on waiting, what serves keeps it.
import { expect, test } from 'vitest';
import { runCell } from '../../../bench/scheduling/cell.ts';

const cell = (policy: string) =>
  runCell({ workload: 'third', policy, seed: 1, size: 'quick', costs: 'vllm-8b', trace: undefined });

test('an engine that is given everything starves the third adapter, and that is a violation', () => {
  expect(cell('vllm-alone').violationsByLaw).toEqual({ 'no wait passes its bound': expect.any(Number) });
});

test('the router serves it within the bound', () => {
  const { violationsByLaw, ttftMsP99 } = cell('stepgate');
  expect(violationsByLaw).toEqual({});
  expect(ttftMsP99.interactive).toBeLessThan(20_000);
});
