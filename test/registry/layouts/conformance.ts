// What every layout must keep, whatever its trainer does: never a half-written checkpoint, and never one missed.
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { LayoutName } from '../../../src/domain.ts';
import { type Found, type WatchOptions, watchDirectory } from '../../../src/registry/discovery.ts';
import { stampsOf } from '../../../src/registry/inspect.ts';
import { LAYOUTS } from '../../../src/registry/layouts/layouts.ts';
import { seeded, seeds } from '../../random.ts';
import { scratch, until } from '../fixtures.ts';
import { configOf, type Piece, put, type Writer, weightsOf, writeStep } from './writers.ts';

const NEVER_MS = 3_600_000;

interface Take {
  readonly step: number;
  readonly weights: Buffer;
  readonly config: Buffer;
}

export function startWatch(dir: string, layout: LayoutName, more: Partial<WatchOptions> = {}) {
  const taken: Take[] = [];
  const found: Found[] = [];
  const problems: string[] = [];
  const stop = new AbortController();
  let looks = 0;
  const done = watchDirectory({
    dir,
    layout: LAYOUTS[layout],
    settleMs: NEVER_MS,
    rescanMs: 15,
    isKnown: () => {
      looks++;
      return false;
    },
    onFound: async (one) => {
      const weights = readFileSync(join(one.dir, 'adapter_model.safetensors'));
      const config = readFileSync(join(one.dir, 'adapter_config.json'));
      if ((await stampsOf(one.dir)).signature !== one.signature) throw new Error('written meanwhile');
      found.push(one);
      taken.push({ step: one.step, weights, config });
    },
    onProblem: (about) => problems.push(about),
    signal: stop.signal,
    ...more,
  });
  onTestFinished(async () => {
    stop.abort();
    await done;
  });
  /** Resolves when what is there now was looked at, incomplete as it is. */
  const looked = async () => {
    const before = looks;
    await until('it was looked at again', () => looks >= before + 2);
  };
  return { taken, found, problems, looked, steps: () => taken.map(({ step }) => step) };
}

/** Both files of one and the same writing. */
function expectWhole({ weights, config }: Take, seedsWritten: readonly number[]): void {
  const seed = seedsWritten.find((one) => weightsOf(one).equals(weights) && configOf(one).equals(config));
  if (seed === undefined) expect.fail(`a mixture, or half a file: ${weights.length} bytes and ${config.toString()}`);
}

export function conform(writer: Writer): void {
  const step = writer.steps ? 5 : 0;
  const settleMs = writer.marked ? NEVER_MS : 60;

  describe(`the layout ${writer.layout}`, () => {
    for (const layout of [writer.layout, 'auto'] as const)
      test(`is found, as ${layout}, when the directory is there already`, async () => {
        const dir = scratch();
        writeStep(dir, writer, { step });
        const watch = startWatch(dir, layout, { settleMs });
        await until('it is found', () => watch.taken.length === 1);
        expect(watch.found[0]).toMatchObject({ step, stepDir: join(dir, writer.stepDir(step)) });
        expect(watch.problems).toEqual([]);
      });

    test('is found, as auto, in a directory that is empty at first', async () => {
      const dir = scratch();
      const watch = startWatch(dir, 'auto', { settleMs });
      writeStep(dir, writer, { step });
      await until('it is found', () => watch.taken.length === 1);
      expect(watch.steps()).toEqual([step]);
    });

    test('is not found before its writer has finished, however slow it is', async () => {
      const dir = scratch();
      const watch = startWatch(dir, writer.layout, { settleMs: writer.marked ? NEVER_MS : 20 });
      const pieces = writer.pieces(step, step);
      const wholeFrom = writer.marked
        ? pieces.length
        : pieces.findIndex(({ path }) => path.endsWith('config.json')) + 1;
      for (const piece of pieces.slice(0, wholeFrom)) {
        for (const part of partsOf(piece)) {
          expect(watch.taken).toEqual([]);
          put(dir, part);
          if (part.path.includes(writer.stepDir(step)) && part.bytes.length < piece.bytes.length) await watch.looked();
        }
      }
      for (const piece of pieces.slice(wholeFrom)) put(dir, piece);
      await until('it is found', () => watch.taken.length > 0);
      for (const take of watch.taken) expectWhole(take, [step]);
    });

    test('is never found when its writer dies midway', async () => {
      const pieces = writer.pieces(step, step);
      const config = pieces.findIndex(({ path }) => path.endsWith('adapter_config.json'));
      for (const last of pieces.slice(0, config + 1)) {
        const dir = scratch();
        for (const piece of pieces.slice(0, pieces.indexOf(last))) put(dir, piece);
        put(dir, { ...last, bytes: last.bytes.subarray(0, Math.floor(last.bytes.length / 2)) });
        const watch = startWatch(dir, writer.layout, { settleMs: 5 });
        if (last.path.includes(writer.stepDir(step)) && pieces.indexOf(last) > 0) await watch.looked();
        expect(watch.taken).toEqual([]);
      }
    });

    test('is found again when it is written again in place, and never as a mixture', async () => {
      const dir = scratch();
      writeStep(dir, writer, { step, seed: 1 });
      const watch = startWatch(dir, writer.layout, { settleMs });
      await until('it is found', () => watch.taken.length === 1);
      for (const piece of writer.pieces(step, 2)) {
        for (const part of partsOf(piece)) put(dir, part);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until('it is found again', () => watch.taken.some(({ weights }) => weights.equals(weightsOf(2))));
      for (const take of watch.taken) expectWhole(take, [1, 2]);
    });

    if (!writer.steps) return;

    test('is found when it is moved into place whole', async () => {
      const dir = scratch();
      const made = scratch();
      writeStep(dir, writer, { step: 1 });
      const watch = startWatch(dir, writer.layout, { settleMs });
      writeStep(made, writer, { step });
      renameSync(join(made, writer.stepDir(step)), join(dir, writer.stepDir(step)));
      for (const piece of writer.pieces(step, step)) if (!piece.path.startsWith(writer.stepDir(step))) put(dir, piece);
      await until('both are found', () => watch.taken.length === 2);
      expect(watch.steps().toSorted((a, b) => a - b)).toEqual([1, step]);
    });

    test('is found before it is rotated away, when each is removed as soon as the next but one is complete', async () => {
      const dir = scratch();
      const watch = startWatch(dir, writer.layout, { settleMs: writer.marked ? NEVER_MS : 20, rescanMs: NEVER_MS });
      const last = 6;
      for (let next = 1; next <= last; next++) {
        writeStep(dir, writer, { step: next });
        await new Promise((resolve) => setTimeout(resolve, 100)); // the pace of the trainer, not a wait for the watch
        if (next > 2) rmSync(join(dir, writer.stepDir(next - 2)), { recursive: true });
      }
      await until('the last is found', () => watch.steps().includes(last));
      expect(watch.steps().toSorted((a, b) => a - b)).toEqual(Array.from({ length: last }, (_, index) => index + 1));
      expect(watch.problems).toEqual([]);
    });

    test.each(seeds(2))('is found once and whole, whatever the pace of several writers (seed %i)', async (seed) => {
      const random = seeded(seed);
      const dir = scratch();
      const watch = startWatch(dir, writer.layout, { settleMs: writer.marked ? NEVER_MS : 150 });
      const steps = Array.from({ length: 12 }, (_, index) => index + 1);
      await Promise.all(
        steps.map(async (one) => {
          for (const piece of writer.pieces(one, one)) {
            for (const part of partsOf(piece)) {
              put(dir, part);
              if (random.chance(0.5)) await new Promise((resolve) => setTimeout(resolve, random.below(20)));
            }
          }
        }),
      );
      await until('all are found', () => steps.every((one) => watch.steps().includes(one)));
      for (const take of watch.taken) expectWhole(take, [take.step]);
    });
  });
}

/** What a reader sees while the file is written: half of it, all but a byte, all. */
function partsOf({ path, bytes }: Piece): readonly Piece[] {
  if (bytes.length < 2) return [{ path, bytes }];
  const lengths = [Math.floor(bytes.length / 2), bytes.length - 1, bytes.length];
  return lengths.map((length) => ({ path, bytes: bytes.subarray(0, length) }));
}
