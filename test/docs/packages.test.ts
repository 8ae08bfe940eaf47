// Promise: what is installed is what was looked at: pinned by digest, and no package runs a script of its own but those that package.json names.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
const { dependencies, allowScripts } = JSON.parse(read('package.json')) as {
  dependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
};
const rows = Object.entries(packages).filter(([path]) => path !== '');
const running = rows.filter(([, { dev, devOptional, optional }]) => !(dev || devOptional || optional));

test('every package has its digest', () => {
  for (const [path, { integrity }] of rows) expect(integrity, path).toMatch(/^sha512-/);
});

test('the scripts that may run at an install are those of package.json, and none is of a package that the gateway runs with', () => {
  const withScripts = rows.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path);
  expect(withScripts).toEqual(Object.keys(allowScripts).map((name) => `node_modules/${name}`));
  expect(running.filter(([path]) => withScripts.includes(path))).toEqual([]);
});

test('the numbers in the documents are true', () => {
  expect(Object.keys(dependencies)).toHaveLength(12);
  expect(read('SECURITY.md')).toContain(`twelve direct ones, ${running.length} packages in all`);
  expect(read('docs/install.md')).toContain(`None of the ${running.length} packages that it runs with`);
});
