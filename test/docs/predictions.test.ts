// Promise: docs/predictions.md tells of every generation parameter that there is, and of what it is to the engine.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { engineParameters, GENERATION_KEYS } from '../../src/deployments/generation.ts';

const text = readFileSync(new URL('../../docs/predictions.md', import.meta.url), 'utf8');
const [, section = ''] = /^## Generation$(.+?)^## /ms.exec(text) ?? [];
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const namesIn = (cell = '') => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);

test('each parameter has its row, and no other has', () => {
  expect(rows.flatMap(([, names]) => namesIn(names)).sort()).toEqual([...GENERATION_KEYS].sort());
});

test('a row that names the engine’s own word for it is true', () => {
  const renamed = rows.flatMap(([, names, to]) => {
    const [, word] = /^`(\w+)`/.exec(to ?? '') ?? [];
    return word === undefined || word === 'false' ? [] : namesIn(names).map((name) => [name, word] as const);
  });
  expect(renamed.length).toBeGreaterThan(3);
  for (const [name, word] of renamed) expect(Object.keys(engineParameters({ [name]: 1 })), name).toEqual([word]);
});
