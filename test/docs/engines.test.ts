// docs/engines.md and the drivers say the same: which routes each kind has, and every config there can be copied.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DRIVERS } from '../../src/backends/drivers.ts';
import { parseConfig } from '../../src/config.ts';
import { parseTemplate } from '../../src/model-template.ts';

const page = readFileSync(new URL('../../docs/engines.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| '));
const ticked = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

test.each(Object.entries(DRIVERS))('docs/engines.md lists the routes of %s', (kind, create) => {
  const { routes } = create({ url: 'http://engine', dispatcher: {} as never, pathFor: (path) => path });
  const cells = rows.find((row) => row.startsWith(`| \`${kind}\` |`))?.split('|');
  if (routes === undefined) expect(cells?.[5]).toContain('all of');
  else expect(ticked(cells?.[5])).toEqual([...routes]);
});

test('every config in docs/engines.md is one, and every template of its services could be used', () => {
  const configs = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  expect(configs).toHaveLength(4);
  for (const text of configs) expect(parseConfig(text, { file: undefined }).backends).toHaveLength(1);
  const templates = rows.filter((row) => row.includes('`https://')).map((row) => ticked(row)[1] ?? '');
  expect(templates).toHaveLength(5);
  for (const template of templates) expect(parseTemplate(template)).toBeTypeOf('object');
});
