// A row of docs/reliability.md is a test: it says what it saw, and fails when the document says anything else of it. `npm run reliability`
// runs the rows and writes the document from what they saw (write.ts); a row that does not pass is never written.
import { relative } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { lineOf, ROOT, type Row, type Section, type SeenRow, WRITING, writtenLines } from './document.ts';

declare module 'vitest' {
  interface TaskMeta {
    row?: SeenRow;
  }
}

/** `run` resolves to what was seen: the same words each time, made of what was observed. */
export type RunRow = (context: TestContext) => Promise<string>;

/** For one file of rows. The helper that it gives takes the place of `test`. */
export function rowsOf(section: Section) {
  return (row: Row, run: RunRow, timeoutMs?: number): void => {
    test(
      row.fault,
      async (context) => {
        const seen = await run(context);
        const seenRow = { ...row, section, seen, file: relative(ROOT, context.task.file.filepath) };
        context.task.meta.row = seenRow;
        if (process.env[WRITING] === undefined) {
          const line = lineOf(seenRow);
          const [head, tail] = [line.slice(0, line.indexOf(' | ') + 3), line.slice(line.lastIndexOf(' | '))];
          const written = writtenLines().find((one) => one.startsWith(head) && one.endsWith(tail));
          expect(written, 'docs/reliability.md says otherwise; npm run reliability writes it').toBe(line);
        }
      },
      timeoutMs,
    );
  };
}
