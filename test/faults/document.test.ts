// docs/reliability.md holds no row whose test is gone. That each of the others says what its test sees is held by the rows themselves (row.ts).
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, writtenLines } from './document.ts';

test('each row of docs/reliability.md is a test that exists', () => {
  const rows = writtenLines().filter((line) => /^\| .* \[[\w-]+\]\(.*\) \|$/.test(line));
  expect(rows.length).toBeGreaterThan(0);
  const gone = rows.filter((line) => {
    const [, fault = '', file = ''] = /^\| (.*?) \| .*\(\.\.\/(.*)\) \|$/.exec(line) ?? [];
    const path = join(ROOT, file);
    return !existsSync(path) || !readFileSync(path, 'utf8').includes(fault.replaceAll('\\|', '|'));
  });
  expect(gone, 'npm run reliability writes it anew').toEqual([]);
});
