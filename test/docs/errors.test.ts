import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS } from '../../src/errors.ts';

test('docs/errors.md lists each code of the catalogue with its status, type, source and meaning, and no other', () => {
  const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| (\d+) \| `(\w+)` \| (\w+) \| (.+) \|$/gm)].map((row) => row.slice(1));
  const catalogue = Object.entries(ERRORS).map(([code, { status, type, source, about }]) => [
    code,
    String(status),
    type,
    source,
    about,
  ]);
  expect(rows).toEqual(catalogue);
});
