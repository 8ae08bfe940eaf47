// Config files: good ones, good ones with one mistake of which the line and the key are known, and texts that are only like one.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { ConfigError, parseConfig } from '../../src/config.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

const FILE = 'gate.yaml';

/** Of each section some keys: what may be written, and what may not. */
const SECTIONS: Readonly<Record<string, readonly (readonly [key: string, good: string, bad: string])[]>> = {
  store: [['bytesMax', '2000000', '5']],
  discovery: [
    ['rescanMs', '500', '0'],
    ['settleMs', '100', 'soon'],
  ],
  limits: [
    ['bodyBytesMax', '1_000', '1e99'],
    ['headerBytesMax', '8192', '-1'],
    ['queueMax', '10', '{}'],
    ['waitMsMax', '5000', '"5000"'],
  ],
  deadlines: [
    ['connectMs', '100', ''],
    ['wholeMs', '100', '[1]'],
  ],
  probe: [['everyMs', '1000', 'true']],
  access: [
    ['metrics', 'open', 'opened'],
    ['hosts', '[gate.example.com]', 'gate.example.com'],
  ],
};
const TOP = [
  ['listen', '":0"', '":99999"'],
  ['admin', '8099', 'here:'],
  ['data', './data', '~/data'],
  ['roots', '[/runs]', '/runs'],
] as const;
const MODEL = [
  ['base', 'Qwen/Qwen3-8B', '""'],
  ['watch', '/runs/a', '$HOME/a'],
  ['latest', 'published', 'newest'],
  ['keep', '{ last: 5 }', '{}'],
] as const;

interface Line {
  readonly text: string;
  readonly path: string;
  /** The same line with a mistake. */
  readonly wrong: string;
}

const isNumberWithUnderscore = /^\d+(?:_\d+)+$/;
const clean = (good: string) => (isNumberWithUnderscore.test(good) ? good.replaceAll('_', '') : good);

const topLines = fc.subarray([...TOP]).map((rows) =>
  rows.map(
    ([key, good, bad]): Line => ({
      text: `${key}: ${good}`,
      path: key,
      wrong: `${key}: ${bad === 'here:' ? 'here' : bad}`,
    }),
  ),
);
const sectionLines = fc.subarray(Object.keys(SECTIONS)).chain((names) =>
  fc.tuple(
    ...names.map((name) =>
      fc.subarray([...(SECTIONS[name] ?? [])], { minLength: 1 }).map((rows): Line[] => [
        { text: `${name}:`, path: name, wrong: `${name}: 5 #` },
        ...rows.map(([key, good, bad]) => ({
          text: `  ${key}: ${clean(good)}`,
          path: `${name}.${key}`,
          wrong: `  ${key}: ${bad}`,
        })),
      ]),
    ),
  ),
);
const modelLines = fc
  .uniqueArray(fc.constantFrom('my-model', 'b', 'constructor', 'имя'), { maxLength: 2 })
  .chain((names) =>
    fc.tuple(
      ...names.map((name) =>
        fc.subarray([...MODEL], { minLength: 1 }).map((rows): Line[] => [
          { text: `  ${name}:`, path: `models.${name}`, wrong: `  ${name}: x #` },
          ...rows.map(([key, good, bad]) => ({
            text: `    ${key}: ${good}`,
            path: `models.${name}.${key}`,
            wrong: `    ${key}: ${bad}`,
          })),
        ]),
      ),
    ),
  );
const file = fc
  .tuple(topLines, sectionLines, modelLines)
  .map(([top, sections, models]): Line[] => [
    ...top,
    ...sections.flat(),
    ...(models.length === 0 ? [] : [{ text: 'models:', path: 'models', wrong: 'models: 5 #' }, ...models.flat()]),
  ]);
const textOf = (lines: readonly Line[]) => lines.map(({ text }) => `${text}\n`).join('');

const problemsOf = (text: string): readonly string[] => {
  try {
    ok(Object.isFrozen(parseConfig(text, { file: FILE })));
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
};

/** A line of its own each: file, line and column that there are, and something to read. */
function checkProblem(problem: string, text: string): void {
  const [, line, column] = /^gate\.yaml:(\d+):(\d+): \P{Cc}{8,}$/u.exec(problem) ?? [];
  ok(line !== undefined, problem);
  const lines = text.split('\n');
  ok(Number(line) >= 1 && Number(line) <= lines.length && Number(column) >= 1, `${problem}: there is no such line`);
}

/** A leaf's own line, the header of a section with all that is under it. */
const withMistake = (lines: readonly Line[], at: number): string => {
  const { path, wrong } = lines[at] ?? { path: '', wrong: '' };
  return lines
    .map((line, index) => (index === at ? wrong : line.path.startsWith(`${path}.`) ? '#' : line.text))
    .map((text) => `${text}\n`)
    .join('');
};

export const configs: Target = {
  name: 'configs',
  promise:
    'a good config is taken, one mistake is told with its line and its key, and any text is taken or refused line by line',
  slice: 400,
  property: () =>
    fc.property(file, fc.nat(), damagedText(file.map(textOf), ':#-{}[]"\'&*!|>%@\t ~,?'), (lines, which, near) => {
      same(problemsOf(textOf(lines)), []);
      const at = which % Math.max(1, lines.length);
      const line = lines[at];
      if (line !== undefined) {
        const problems = problemsOf(withMistake(lines, at));
        ok(problems.length === 1, `${withMistake(lines, at)}\n${problems.join('\n')}`);
        const [problem = ''] = problems;
        ok(
          problem.startsWith(`${FILE}:${at + 1}:`) && problem.includes(`: ${line.path}`),
          `${line.path}, line ${at + 1}: ${problem}`,
        );
      }
      for (const problem of problemsOf(near)) checkProblem(problem, near);
    }),
};
