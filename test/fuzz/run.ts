// `npm run fuzz`: asks each target by the million, in batches that can be repeated by their seeds. A failure is printed with what to type to see
// it again; the others are asked all the same.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ask, type Target } from './target.ts';
import { TARGETS } from './targets.ts';

const BATCH = 10_000;
const SHOWN_EVERY_MS = 10_000;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100000' },
    only: { type: 'string', multiple: true },
    seed: { type: 'string', default: `${Date.now() % 1_000_000_000}` },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const HELP = `npm run fuzz -- [--only TARGET]... [--runs N] [--seed N] [--list]
  --only TARGET  this one, and others that are named so (default: all)
  --runs N       inputs for each (default: 100000)
  --seed N       of the first batch of 10000; each further batch has the next one (default: from the clock)
  --list         prints the targets, and what is promised of each`;

/** Undefined: nothing was wrong. */
async function asked(target: Target, scratch: string): Promise<string | undefined> {
  const [runs, first] = [Number(values.runs), Number(values.seed)];
  const startedAt = performance.now();
  const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(0);
  let shownAt = startedAt;
  for (let done = 0; done < runs; done += BATCH) {
    const seed = first + done / BATCH;
    const batch = Math.min(BATCH, runs - done);
    try {
      await ask(target, { scratch, seed, runs: batch });
    } catch (error) {
      return `${target.name}: WRONG after ${done} to ${done + batch} inputs; npm run fuzz -- --only ${target.name} --seed ${seed} --runs ${batch}\n${error}`;
    }
    if (performance.now() - shownAt < SHOWN_EVERY_MS) continue;
    shownAt = performance.now();
    console.error(`${target.name}: ${done + batch} of ${runs}, ${seconds()} s`);
  }
  console.log(`${target.name}: ${runs} inputs in ${seconds()} s, from seed ${first}: ${target.promise}`);
  return undefined;
}

if (values.help) {
  console.log(HELP);
  process.exit();
}
const chosen = TARGETS.filter(({ name }) => values.only?.includes(name) ?? true);
if (values.list || chosen.length === 0) {
  for (const { name, promise } of TARGETS) console.log(`${name.padEnd(10)} ${promise}`);
  process.exit(values.list ? 0 : 2);
}
const scratch = mkdtempSync(join(tmpdir(), 'stepgate-fuzz-'));
try {
  for (const target of chosen) {
    const wrong = await asked(target, scratch);
    if (wrong === undefined) continue;
    console.error(wrong);
    process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
