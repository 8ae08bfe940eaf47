// Promise: docs/limits.md names every limit of the config with its default, constants by their values, and tests that are there.
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { defaultConfig } from '../../src/config.ts';

const docs = new URL('../../docs/', import.meta.url);
const rows = readFileSync(new URL('limits.md', docs), 'utf8')
  .split('\n')
  .filter((line) => /^\| (?!what)/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const plain = (number: string) => number.replace(/[,_]/g, '');

test('every limit of the config is there with its default, and no other', () => {
  const written = rows.flatMap(([, , limit = '', byDefault = '']) => {
    const [, key] = /^`limits\.(\w+)`$/.exec(limit) ?? [];
    return key === undefined ? [] : [[key, plain(byDefault)] as const];
  });
  const real = Object.entries(defaultConfig().limits).map(([key, value]) => [key, String(value)]);
  expect(Object.fromEntries(written)).toEqual(Object.fromEntries(real));
});

const constants = rows.flatMap(([, , limit = '', byDefault = '']) => {
  const [, name, file] = /^`(\w+)` of `([\w./-]+)`$/.exec(limit) ?? [];
  return name === undefined || file === undefined ? [] : [{ name, file, byDefault }];
});

test.each(constants)('$name of $file is $byDefault', ({ name, file, byDefault }) => {
  const source = readFileSync(new URL(`../src/${file}`, docs), 'utf8');
  const [, value = ''] = new RegExp(`const ${name} = ([^;]+);`).exec(source) ?? [];
  expect(plain(value)).toBe(plain(byDefault));
});

test('the tests that it names exist', () => {
  const files = rows.flatMap(([, , , , , by = '']) => [...by.matchAll(/\]\(([^)]+)\)/g)].map(([, path = '']) => path));
  expect(files.length).toBeGreaterThan(20);
  for (const file of files) expect(existsSync(new URL(file, docs)), file).toBe(true);
});
