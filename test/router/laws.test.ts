// Small worlds against every policy: lists of commands that fast-check makes and shrinks. A failure names the seed, the shortest list that
// breaks the law, and its transcript.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seeds } from '../random.ts';
import { type Command, commands, perform } from './commands.ts';
import { POLICIES } from './policies.ts';
import { Run, report } from './run.ts';
import { tell } from './telling.ts';
import { OPTIONS, parse } from './transcript.ts';

const LISTS = 1500;

function live(run: Run, list: readonly Command[]): void {
  for (const command of list) perform(run, command);
  run.pass(run.now + 2 * OPTIONS.waitMsMax);
  run.over();
}

describe.each(POLICIES)('with the $name policy', ({ name, make }) => {
  test.each(seeds(1))('the laws hold whatever happens in whatever order (seed %i)', { timeout: 120_000 }, (seed) => {
    const options = { ...OPTIONS, queueMax: 8, queuePerCheckpointMax: 4, policy: make(seed) };
    const property = fc.property(commands, (list) => live(new Run(options), list));
    const { failed, counterexample, errorInstance } = fc.check(property, { seed, numRuns: LISTS });
    if (!failed) return;
    const [list = []] = counterexample ?? [];
    const run = new Run(options);
    const told = `seed ${seed}, ${name} policy, commands ${JSON.stringify(list)}`;
    try {
      live(run, list);
    } catch (error) {
      throw report(error, run, { options, seed: told });
    }
    throw errorInstance;
  });
});

test.each(seeds(1))('a history is told in the words that a transcript is read in (seed %i)', (seed) => {
  const property = fc.property(commands, (list) => {
    const run = new Run(OPTIONS);
    for (const command of list) perform(run, command);
    for (const { event } of run.history) expect(parse(tell(event))).toEqual(event);
  });
  fc.assert(property, { seed, numRuns: 50 });
});
