// An engine's log: its last lines, what comes, and that it stays within its bound while the engine writes on.
import { appendFile, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LogFile } from '../../src/engines/log-file.ts';

let home: string;
let log: LogFile;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'stepgate-log-'));
  log = new LogFile(join(home, 'engines', 'x', 'log'), { bytesMax: 1_000 });
});
afterEach(() => rm(home, { recursive: true, force: true }));

test('the last lines are those that a terminal would show: of a progress bar the last state, no empty ones', async () => {
  expect(await log.last(5)).toEqual([]);
  await log.begin();
  await appendFile(log.path, 'one\n\nLoading 10%\rLoading 50%\rLoading 100%\ntwo\r\nthree');
  expect(await log.last(3)).toEqual(['Loading 100%', 'two', 'three']);
  expect(await log.last(100)).toHaveLength(4);
});

test('what is full becomes the one before; the last lines are of both, and no more than twice the bound is kept', async () => {
  await log.begin();
  for (let line = 0; line < 1_000; line++) {
    await appendFile(log.path, `line ${line}\n`);
    if (line % 50 === 0) await log.keepBounded();
  }
  await log.keepBounded();
  const sizes = await Promise.all([log.path, `${log.path}.1`].map(async (path) => (await stat(path)).size));
  expect(Math.max(...sizes)).toBeLessThan(2_000);
  expect(await log.last(3)).toEqual(['line 997', 'line 998', 'line 999']);
});

test('of one that has grown while nobody bounded it, only the end is kept', async () => {
  await log.begin();
  for (let line = 0; line < 1_000; line++) await appendFile(log.path, `line ${line}\n`);
  await log.keepBounded();
  expect([(await stat(log.path)).size, (await stat(`${log.path}.1`)).size]).toEqual([0, 1_000]);
  expect(await log.last(2)).toEqual(['line 998', 'line 999']);
});

test('as many lines as are asked for: none, or the most that may be, in letters of any length', async () => {
  log = new LogFile(log.path);
  await log.begin();
  const line = (of: number) => `${of} ${'█'.repeat(100)}`;
  await writeFile(`${log.path}.1`, Array.from({ length: 5_000 }, (_, of) => `${line(of)}\n`).join(''));
  await writeFile(log.path, Array.from({ length: 15_000 }, (_, of) => `${line(5_000 + of)}\n`).join(''));
  expect(await log.last(0)).toEqual([]);
  expect(await log.last(10_000)).toEqual(Array.from({ length: 10_000 }, (_, of) => line(10_000 + of)));
  const some = await log.last(2_000);
  expect(some).toEqual(Array.from({ length: 2_000 }, (_, of) => line(18_000 + of)));
});

test('only its owner reads it', async () => {
  await log.begin();
  await appendFile(log.path, 'of the first\n'.repeat(100));
  await log.keepBounded();
  for (const path of [log.path, `${log.path}.1`]) expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test('an engine of the same name begins with an empty one', async () => {
  await log.begin();
  await appendFile(log.path, 'of the first\n'.repeat(100));
  await log.keepBounded();
  await log.begin();
  expect(await log.last(100)).toEqual([]);
});

test('who follows is given the last lines, then all that comes, once, also over a full file, to its end', async () => {
  await log.begin();
  await appendFile(log.path, 'a\nb\nc\n');
  const over = new AbortController();
  let text = '';
  const decoder = new TextDecoder();
  let arrived = () => {};
  const reading = (async () => {
    for await (const piece of log.follow(2, over.signal)) {
      text += typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true });
      arrived();
    }
  })();
  const until = (wanted: string) =>
    new Promise<void>((resolve) => {
      arrived = () => text.includes(wanted) && resolve();
      arrived();
    });
  await until('c\n');
  await appendFile(log.path, `${'d'.repeat(1_500)}\n`);
  await until('d\n');
  await log.keepBounded();
  await appendFile(log.path, 'e\n');
  await until('e\n');
  await appendFile(log.path, 'f\n');
  over.abort();
  await reading;
  expect(text).toBe(`b\nc\n${'d'.repeat(1_500)}\ne\nf\n`);
});
