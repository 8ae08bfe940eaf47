import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { HEADER_POLICY } from '../../src/backends/headers.ts';

test('docs/api.md says of every header that does not simply pass what becomes of it, and of no other', () => {
  const text = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8');
  const row = (direction: string, what: string): string[] => {
    const [, names = ''] = new RegExp(`^\\| ${direction} \\| ${what} \\| (.+) \\|$`, 'm').exec(text) ?? [];
    return [...names.matchAll(/`([\w*-]+)`/g)].map(([, name = '']) => name).sort();
  };
  const { request, response } = HEADER_POLICY;
  const prefixes = request.strippedPrefixes.map((prefix) => `${prefix}*`);
  expect(row('to the engine', 'stripped')).toEqual([...request.stripped, ...prefixes].sort());
  expect(row('to the engine', 'added')).toEqual([...request.added].sort());
  expect(row('to the caller', 'stripped')).toEqual([...response.stripped].sort());
  expect(row('to the caller', 'added')).toEqual([...response.added].sort());
});
