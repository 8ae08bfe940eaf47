import { mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Found, type WatchOptions, watchDirectory } from '../../src/registry/discovery.ts';
import { hf } from '../../src/registry/layouts/hf.ts';
import { CONFIG, safetensors, scratch, until, writeCheckpoint } from './fixtures.ts';

const NEVER_MS = 3_600_000;

/** Starts a watch that ends with the test. Settling and rescans never happen unless asked for. */
function start(dir: string, more: Partial<WatchOptions> = {}) {
  const found: Found[] = [];
  const problems: string[] = [];
  const stop = new AbortController();
  const done = watchDirectory({
    dir,
    layout: hf,
    settleMs: NEVER_MS,
    rescanMs: NEVER_MS,
    isKnown: () => false,
    onFound: async (one) => void found.push(one),
    onProblem: (about) => problems.push(about),
    signal: stop.signal,
    ...more,
  });
  onTestFinished(async () => {
    stop.abort();
    await done;
  });
  return { found, problems, stop, done, steps: () => found.map((one) => one.step) };
}

/** Resolves once the watch has looked at everything that is there: a whole checkpoint written last was found. */
async function sentinel(dir: string, watch: { steps: () => number[] }, step = 999_999): Promise<void> {
  writeCheckpoint(join(dir, `checkpoint-${step}`));
  await until('the sentinel is found', () => watch.steps().includes(step));
}

describe('finding checkpoints', () => {
  test('finds what is there already', async () => {
    const dir = scratch();
    for (const step of [100, 20, 3]) writeCheckpoint(join(dir, `checkpoint-${step}`));
    mkdirSync(join(dir, 'runs'));
    const watch = start(dir);
    await until('three are found', () => watch.found.length === 3);
    expect(watch.steps().toSorted((a, b) => a - b)).toEqual([3, 20, 100]);
  });

  test('finds a new one by events alone', async () => {
    const dir = scratch();
    const watch = start(dir);
    await sentinel(dir, watch, 1);
    writeCheckpoint(join(dir, 'checkpoint-5'));
    await until('step 5 is found', () => watch.steps().includes(5));
  });

  test('finds a new one by the rescan alone, in a directory that appears later', async () => {
    const dir = join(scratch(), 'later');
    const watch = start(dir, { rescanMs: 20 });
    await until('the missing directory is told', () => watch.problems.length > 0);
    writeCheckpoint(join(dir, 'checkpoint-5'));
    await until('step 5 is found', () => watch.steps().includes(5));
    expect(watch.problems).toHaveLength(1);
  });

  test('finds checkpoints again after the whole directory was removed and made anew', async () => {
    const dir = join(scratch(), 'run');
    writeCheckpoint(join(dir, 'checkpoint-1'));
    const watch = start(dir, { rescanMs: 20 });
    await until('step 1 is found', () => watch.steps().includes(1));
    rmSync(dir, { recursive: true });
    await until('the loss is told', () => watch.problems.length > 0);
    writeCheckpoint(join(dir, 'checkpoint-2'));
    await until('step 2 is found', () => watch.steps().includes(2));
  });

  test('finds a directory that is moved into place whole', async () => {
    const dir = scratch();
    const watch = start(dir);
    writeCheckpoint(join(dir, 'tmp-checkpoint-5'));
    renameSync(join(dir, 'tmp-checkpoint-5'), join(dir, 'checkpoint-5'));
    await until('step 5 is found', () => watch.steps().includes(5));
  });
});

describe('a trainer that writes slowly', () => {
  test('is waited for at every point, until its marker is there', async () => {
    const dir = scratch();
    const five = join(dir, 'checkpoint-5');
    const watch = start(dir);
    const weights = safetensors(5);
    let sentinels = 1_000_000;
    const pieces: [string, Buffer | string][] = [
      ['adapter_model.safetensors', weights.subarray(0, 5)],
      ['adapter_model.safetensors', weights.subarray(0, 60)],
      ['adapter_model.safetensors', weights.subarray(0, weights.length - 1)],
      ['adapter_model.safetensors', weights],
      ['adapter_config.json', '{"peft_type": "LORA",'],
      ['adapter_config.json', JSON.stringify(CONFIG)],
      ['trainer_state.json', '{"global_step": 5'],
    ];
    mkdirSync(five);
    for (const [name, bytes] of pieces) {
      writeFileSync(join(five, name), bytes);
      await sentinel(dir, watch, sentinels++);
      expect(watch.steps()).not.toContain(5);
    }
    writeFileSync(join(five, 'trainer_state.json'), '{"global_step": 5}');
    await until('step 5 is found', () => watch.steps().includes(5));
  });

  test('and has no marker is found once its files are whole and have not moved for the settle time', async () => {
    const dir = scratch();
    writeCheckpoint(join(dir, 'checkpoint-5'), { marker: false });
    const startedMs = performance.now();
    const watch = start(dir, { settleMs: 200 });
    await until('step 5 is found', () => watch.steps().includes(5));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(200);
  });

  test('and dies midway is never found; that is told once', async () => {
    const dir = scratch();
    writeCheckpoint(join(dir, 'checkpoint-5'), { marker: false });
    writeFileSync(join(dir, 'checkpoint-5', 'adapter_model.safetensors'), safetensors(5).subarray(0, 90));
    const watch = start(dir, { settleMs: 10, rescanMs: 10 });
    await until('it is told', () => watch.problems.length > 0);
    await sentinel(dir, watch);
    expect(watch.problems).toEqual([expect.stringMatching(/checkpoint-5 is still incomplete: .*has 90 bytes/)]);
    expect(watch.steps()).not.toContain(5);
  });
});

describe('a step that is written again', () => {
  test('is found again, once, when its marker is written again', async () => {
    const dir = scratch();
    const five = writeCheckpoint(join(dir, 'checkpoint-5'), { seed: 1 });
    const watch = start(dir, { rescanMs: 20 });
    await until('it is found', () => watch.found.length === 1);
    writeCheckpoint(five, { seed: 2 });
    await until('it is found again', () => watch.found.length === 2);
    await sentinel(dir, watch);
    expect(watch.steps()).toEqual([5, 5, 999_999]);
    expect(watch.found[0]?.signature).not.toBe(watch.found[1]?.signature);
  });

  test('is not taken on the word of the marker of its former revision', async () => {
    const dir = scratch();
    const five = writeCheckpoint(join(dir, 'checkpoint-5'), { seed: 1 });
    const markedS = statSync(join(five, 'trainer_state.json')).mtimeMs / 1000;
    writeFileSync(join(five, 'adapter_model.safetensors'), safetensors(2));
    utimesSync(join(five, 'adapter_model.safetensors'), markedS + 10, markedS + 10);
    const watch = start(dir, { rescanMs: 20 });
    await sentinel(dir, watch);
    expect(watch.steps()).not.toContain(5);
    utimesSync(join(five, 'trainer_state.json'), markedS + 20, markedS + 20);
    await until('it is found', () => watch.steps().includes(5));
  });

  test('is not found again when nothing of the adapter changed', async () => {
    const dir = scratch();
    const five = writeCheckpoint(join(dir, 'checkpoint-5'));
    const watch = start(dir, { rescanMs: 10 });
    await until('it is found', () => watch.found.length === 1);
    writeFileSync(join(five, 'scheduler.pt'), 'another file');
    writeFileSync(join(five, 'trainer_state.json'), '{}');
    await sentinel(dir, watch);
    expect(watch.steps()).toEqual([5, 999_999]);
  });
});

describe('what is done with the finds', () => {
  test('files that are known are not found', async () => {
    const dir = scratch();
    for (const step of [1, 2]) writeCheckpoint(join(dir, `checkpoint-${step}`));
    const watch = start(dir, { isKnown: (one) => one.step === 1 });
    await until('step 2 is found', () => watch.steps().includes(2));
    expect(watch.steps()).toEqual([2]);
  });

  test('one that cannot be taken is told, is tried again at a rescan, and keeps no other back', async () => {
    const dir = scratch();
    for (const step of [1, 2]) writeCheckpoint(join(dir, `checkpoint-${step}`));
    let attempts = 0;
    const steps: number[] = [];
    const onFound = async ({ step }: Found) => {
      if (step === 1 && ++attempts < 3) throw new Error('the disk is full');
      steps.push(step);
    };
    const watch = start(dir, { rescanMs: 20, onFound });
    await until('step 1 is taken', () => steps.includes(1));
    expect(steps).toEqual([2, 1]);
    expect(watch.problems).toEqual([expect.stringContaining('checkpoint-1 was not taken: the disk is full')]);
  });

  test('several at once but few, from both ends: the newest, and the oldest that a trainer would rotate away first', async () => {
    const dir = scratch();
    const steps = Array.from({ length: 60 }, (_, index) => index + 1);
    for (const step of steps) writeCheckpoint(join(dir, `checkpoint-${step}`));
    const watch = startGated(dir);
    await watch.queued(steps);
    writeCheckpoint(join(dir, 'checkpoint-70'));
    await watch.queued([70]);
    expect(watch.taken).toHaveLength(3);
    watch.release();
    await until('all are taken', () => watch.taken.length === 61);
    expect(watch.most.count).toBe(3);
    expect(watch.taken.slice(3, 7)).toContain(70); // before the backlog of those that are older
    const [first, second] = steps.filter((step) => !watch.taken.slice(0, 3).includes(step));
    // One lane of three works from the old end; how fast each lane goes is the disk's business.
    expect(watch.taken.slice(3, 30)).toEqual(expect.arrayContaining([first, second]));
  });

  test('one that is removed while it waits for its turn is told as lost', async () => {
    const dir = scratch();
    const steps = [1, 2, 3, 4, 5, 6, 7, 8];
    for (const step of steps) writeCheckpoint(join(dir, `checkpoint-${step}`));
    const watch = startGated(dir);
    await watch.queued(steps);
    const lost = steps.find((step) => !watch.taken.includes(step)) ?? expect.fail('none waits');
    rmSync(join(dir, `checkpoint-${lost}`), { recursive: true });
    await until('the loss is told', () => watch.problems.length > 0);
    watch.release();
    await until('the others are taken', () => watch.taken.length === 7);
    expect(watch.problems).toEqual([expect.stringContaining(`checkpoint-${lost}: complete`)]);
  });
});

/** A watch whose finds wait until `release`: what is being taken, and what was looked at. */
function startGated(dir: string) {
  const gate = Promise.withResolvers<void>();
  onTestFinished(() => gate.resolve());
  const taken: number[] = [];
  const asked = new Set<number>();
  const most = { count: 0 };
  let under = 0;
  const watch = start(dir, {
    rescanMs: 20,
    isKnown: ({ step }) => asked.add(step) && step === SENTINEL,
    onFound: async ({ step }) => {
      taken.push(step);
      most.count = Math.max(most.count, ++under);
      await gate.promise;
      under--;
    },
  });
  /** Resolves when these steps wait for their turn: a look is over before another begins. */
  const queued = async (steps: readonly number[]) => {
    await until('all were looked at', () => steps.every((step) => asked.has(step)));
    asked.delete(SENTINEL);
    writeCheckpoint(join(dir, `checkpoint-${SENTINEL}`), { seed: asked.size });
    await until('the sentinel was looked at', () => asked.has(SENTINEL));
  };
  return { ...watch, taken, most, queued, release: gate.resolve };
}

const SENTINEL = 1_000;

test('after its end nothing keeps the process alive, though it ended in the middle', async () => {
  const handles = () => process.getActiveResourcesInfo().filter((kind) => /FSEvent|Timeout/.test(kind)).length;
  const before = handles();
  const dir = scratch();
  for (let step = 0; step < 50; step++) writeCheckpoint(join(dir, `checkpoint-${step}`), { marker: step % 2 === 0 });
  const watch = start(dir);
  await until('the first is found', () => watch.found.length > 0);
  watch.stop.abort();
  await watch.done;
  const count = watch.found.length;
  expect(count).toBeLessThan(50);
  await until('watches and timers are gone', () => handles() <= before);
});

test('a scan of hundreds of known checkpoints asks about each once and reads none', async () => {
  const dir = scratch();
  for (let step = 0; step < 300; step++) writeCheckpoint(join(dir, `checkpoint-${step}`));
  const asked = { count: 0 };
  const watch = start(dir, {
    rescanMs: 50,
    isKnown: () => {
      asked.count++;
      return true;
    },
  });
  await until('all were looked at', () => asked.count >= 300);
  await sentinel(dir, { steps: () => (asked.count > 300 ? [999_999] : []) });
  expect(asked.count).toBe(301);
  expect(watch.problems).toEqual([]);
});
