// A process that registers, deletes and moves aliases until it is killed: argv = data directory, seed, then the directories of contents.
// It says what it is about to do and what was acknowledged, one JSON line each; pipes are written synchronously, so no line is lost.
import process from 'node:process';
import { Registry } from '../../src/registry/registry.ts';
import { seeded } from '../random.ts';
import { ALIASES, MODEL, type Said, STEPS, type Task } from './durability-tasks.ts';

/** Tasks under way at once; two of one step or alias never are, so that each has one last word. */
const LANES = 4;

const [dataDir = '', seed = '0', ...contents] = process.argv.slice(2);
const registry = await Registry.open({
  dataDir,
  roots: [],
  models: new Map(),
  rescanMs: 1_000,
  settleMs: 1_000,
  nowMs: Date.now,
  onChange: () => {},
  onProblem: () => {},
});
const say = (line: Said) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ kind: 'opened' });

async function carryOut(task: Task): Promise<void> {
  switch (task.kind) {
    case 'register':
      await registry.register({ name: `${MODEL}@${task.step}`, path: String(contents[task.content]) });
      return;
    case 'remove':
      registry.remove(`${MODEL}@${task.step}`, 'test');
      return;
    case 'alias':
      registry.moveAlias({ model: MODEL, alias: task.alias, to: task.to, who: 'test' });
      return;
    case 'sweep':
      await registry.sweepStore(new Set());
  }
}

async function lane(index: number): Promise<void> {
  const random = seeded(Number(seed) * LANES + index);
  const mine = (count: number) => index + LANES * random.below(count / LANES);
  for (;;) {
    const chance = random.next();
    const step = mine(STEPS);
    const task: Task =
      chance < 0.6
        ? { kind: 'register', step, content: random.below(contents.length) }
        : chance < 0.75
          ? { kind: 'remove', step }
          : chance < 0.95
            ? { kind: 'alias', alias: String(ALIASES[index]), to: random.chance(0.2) ? undefined : mine(STEPS) }
            : { kind: 'sweep' };
    say({ kind: 'begun', lane: index, task });
    // A deletion of what is not there, or of what an alias leads to, is refused: then nothing may have changed.
    const refused = await carryOut(task).then(
      () => false,
      () => true,
    );
    say({ kind: 'ended', lane: index, refused });
    // Deletions and moves are synchronous: the other lanes get their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
