// kill -9 at any moment of registrations, deletions, alias moves and sweeps: what was acknowledged is there after the restart, what was under
// way is there or not, nothing is half there, and the rows agree with the files. ROUNDS=100 kills more often, SEED=N replays.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';
import { digestOfDirectory } from '../../src/registry/disk.ts';
import { examine } from '../../src/registry/doctor.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { rowsOf } from '../faults/row.ts';
import { type Random, seeded, seeds } from '../random.ts';
import { ALIASES, MODEL, type Said, STEPS, type Task } from './durability-tasks.ts';
import { openRegistry, scratch, writeCheckpoint } from './fixtures.ts';

const ROUNDS = Number(process.env.ROUNDS ?? 8);
const CONTENTS = 6;
/** Lines said before the kill: about two for each task. */
const LINES_MAX = 300;
const WORKER = join(import.meta.dirname, 'durability-worker.ts');

/** Where a step or an alias stands: a digest or a step, `deleted`, or undefined where it never was. */
type Standing = string | undefined;

/** What must be there: for each step and alias, its last acknowledged standing, and what a task under way would make of it. */
class Expected {
  readonly #standing = new Map<string, Standing>();
  readonly #underWay = new Map<number, { key: string; standing: Standing }>();
  readonly #digests: readonly string[];
  acknowledged = 0;

  constructor(digests: readonly string[]) {
    this.#digests = digests;
  }

  hear(said: Said): void {
    if (said.kind === 'begun') this.#begin(said.lane, said.task);
    if (said.kind === 'ended') this.#end(said.lane, said.refused);
  }

  #begin(lane: number, task: Task): void {
    switch (task.kind) {
      case 'register':
        return void this.#underWay.set(lane, { key: `@${task.step}`, standing: this.#digests[task.content] });
      case 'remove':
        return void this.#underWay.set(lane, { key: `@${task.step}`, standing: 'deleted' });
      case 'alias':
        return void this.#underWay.set(lane, { key: task.alias, standing: task.to?.toString() });
    }
  }

  #end(lane: number, refused: boolean): void {
    const ended = this.#underWay.get(lane);
    this.#underWay.delete(lane);
    if (refused || ended === undefined) return;
    this.#standing.set(ended.key, ended.standing);
    this.acknowledged++;
  }

  /** Compares, and takes over what was under way when the process was killed. */
  settle(standingOf: (key: string) => Standing, about: string): void {
    const keys = [...ALIASES, ...Array.from({ length: STEPS }, (_, step) => `@${step}`)];
    for (const key of keys) {
      const actual = standingOf(key);
      const perhaps = [...this.#underWay.values()].filter((one) => one.key === key).map(({ standing }) => standing);
      expect([this.#standing.get(key), ...perhaps], `${about}: ${key}`).toContain(actual);
      this.#standing.set(key, actual);
    }
    this.#underWay.clear();
  }
}

const standingIn =
  (registry: Registry) =>
  (key: string): Standing => {
    if (!key.startsWith('@'))
      return registry.catalog
        .aliases(MODEL)
        .find(({ alias }) => alias === key)
        ?.step.toString();
    const checkpoint = registry.catalog.find(`${MODEL}${key}`);
    return checkpoint?.state.kind === 'servable' ? checkpoint.adapter?.digest : checkpoint?.state.kind;
  };

/** Starts the process, hears it out until it has said `lines` lines, and kills it. */
async function killAfter(lines: number, args: readonly string[], hear: (said: Said) => void): Promise<void> {
  const child = spawn(process.execPath, [WORKER, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    hear(JSON.parse(line));
    if (++heard === lines) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  expect(child.signalCode, 'the process must die of the kill, not of an error').toBe('SIGKILL');
}

async function check(dataDir: string, expected: Expected, about: string): Promise<void> {
  const before = await examine(dataDir, { repair: false, deep: true });
  const wrong = before.findings.filter(({ severity, kind }) => severity === 'problem' && !MAY_BE_LEFT.has(kind));
  expect(wrong, about).toEqual([]);
  const { registry } = await openRegistry(dataDir);
  expected.settle(standingIn(registry), about);
  await registry.sweepStore(new Set());
  await registry.close();
  const after = await examine(dataDir, { repair: false, deep: true });
  expect(
    after.findings.filter(({ severity }) => severity === 'problem'),
    about,
  ).toEqual([]);
  expect(after.toBeFreed, about).toBe(0);
}

/** Content whose row was never written, and directories on their way: a restart and a sweep remove them. */
const MAY_BE_LEFT = new Set(['orphan', 'leftover']);

rowsOf('gateway')(
  {
    fault: 'kill -9 at any moment of registrations, deletions, alias moves and sweeps',
    required: 'nothing that was acknowledged is lost, nothing is left half done',
    mechanism: '`registry/adapter-store.ts` syncs the files before the row; SQLite: WAL, synchronous FULL',
  },
  async () => {
    const [seed = 0] = seeds(1);
    const random: Random = seeded(seed);
    const dataDir = join(scratch(), 'data');
    const contents = Array.from({ length: CONTENTS }, (_, index) => writeCheckpoint(scratch(), { seed: index }));
    const digests = await Promise.all(contents.map(async (dir) => (await digestOfDirectory(dir)).digest));
    const expected = new Expected(digests);
    for (let round = 0; round < ROUNDS; round++) {
      const about = `seed ${seed}, round ${round}`;
      const lines = 1 + random.below(LINES_MAX);
      await killAfter(lines, [dataDir, String(seed + round), ...contents], (said) => expected.hear(said));
      await check(dataDir, expected, about);
    }
    console.info(`seed ${seed}: ${ROUNDS} kills, ${expected.acknowledged} changes acknowledged, none lost`);
    return 'every acknowledged change is there after each restart, and the rows agree with the files';
  },
  20_000 + ROUNDS * 5_000,
);
