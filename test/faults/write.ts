// Runs every row there is and writes docs/reliability.md from what they saw: `npm run reliability`. One that fails, or could not run here,
// leaves the document as it was.
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startVitest } from 'vitest/node';
import { DOCUMENT, lineOf, ROOT, SECTIONS, type Section, type SeenRow, WRITING } from './document.ts';

const INTRODUCTION = `# Reliability

What goes wrong, what is required then, and what was seen when it was done to a gateway: over real sockets, with engines and callers made to
misbehave. Each row is a test of the suite, linked at its end, which fails when it sees anything but what is written here.

\`npm run reliability\` runs the rows and writes this page; one that fails is not written. What each error means is in [errors.md](errors.md); the
deadlines and limits that are named are keys of the config ([config.md](config.md)), set shorter in the tests.
`;
const HEAD = '| fault | required | seen | mechanism | shown by |\n|---|---|---|---|---|';

/** By file, and in the order of the file. */
const ofSection = (all: readonly SeenRow[], section: Section): SeenRow[] =>
  all.filter((row) => row.section === section).sort((a, b) => (a.file < b.file ? -1 : Number(a.file > b.file)));

function sections(all: readonly SeenRow[]): string[] {
  return (Object.keys(SECTIONS) as Section[]).flatMap((section) => {
    const lines = ofSection(all, section).map(lineOf);
    return lines.length === 0 ? [] : [`## ${SECTIONS[section]}\n\n${HEAD}\n${lines.join('\n')}\n`];
  });
}

process.env[WRITING] = '1';
const files = globSync('test/**/*.test.ts', { cwd: ROOT }).filter((file) =>
  readFileSync(join(ROOT, file), 'utf8').includes('rowsOf('),
);
const vitest = await startVitest('test', files, { watch: false, root: ROOT });
const modules = vitest.state.getTestModules();
const tests = modules.flatMap((module) => [...module.children.allTests()]);
await vitest.close();
const rows = tests.flatMap((test) => test.meta().row ?? []);
const bad = [
  // One that could not be read has no tests to fail.
  ...modules.filter((module) => module.state() !== 'passed').map((module) => module.moduleId),
  ...tests.filter((test) => test.result().state !== 'passed').map((test) => test.fullName),
];
if (bad.length > 0 || modules.length < files.length || rows.length === 0) {
  for (const name of bad) console.error(`not passed: ${name}`);
  console.error('docs/reliability.md is left as it was: it is written when every row has passed');
  process.exitCode = 1;
} else {
  writeFileSync(DOCUMENT, [INTRODUCTION, ...sections(rows)].join('\n'));
  console.log(`${rows.length} rows written to docs/reliability.md`);
}
