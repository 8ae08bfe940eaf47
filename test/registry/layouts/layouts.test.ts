// Every layout against the conformance suite, what only one of them has, and how `auto` tells them apart.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { inspect } from '../../../src/registry/inspect.ts';
import { LAYOUTS } from '../../../src/registry/layouts/layouts.ts';
import { scratch, until } from '../fixtures.ts';
import { conform, startWatch } from './conformance.ts';
import { configOf, put, WRITERS, weightsOf, writeStep } from './writers.ts';

for (const writer of WRITERS) conform(writer);

test('every layout has a writer here', () => {
  expect(['auto', ...WRITERS.map(({ layout }) => layout)].toSorted()).toEqual(Object.keys(LAYOUTS).toSorted());
});

const writerOf = (layout: string) => WRITERS.find((one) => one.layout === layout) ?? expect.fail(`no writer ${layout}`);

describe('names of steps', () => {
  test.each([
    ['hf', 'checkpoint-5', 5],
    ['hf', 'tmp-checkpoint-5', undefined],
    ['art', '0005', 5],
    ['art', '12345', 12345],
    ['art', '5', undefined],
    ['prime-rl', 'step_5', 5],
    ['verl', 'global_step_5', 5],
    ['skyrl', 'global_step5', undefined],
    ['openrlhf', 'global_step5_hf', 5],
    ['openrlhf', 'global_step5', 5],
    ['torchtune', 'epoch_0', 0],
    ['torchtune', 'step_100', 100],
    ['torchtune', 'recipe_state', undefined],
    ['adapter', '.', 0],
    ['hf', 'checkpoint-99999999999999999', undefined],
  ] as const)('%s: %s is step %s', (name, entry, step) => {
    const layout = LAYOUTS[name];
    expect(layout !== 'auto' && layout.stepOf(entry)).toBe(step);
  });
});

describe('auto', () => {
  test('waits quietly in an empty directory, and says what to set where it recognises nothing', async () => {
    const dir = scratch();
    const watch = startWatch(dir, 'auto');
    mkdirSync(join(dir, 'notes'));
    await until('it is told', () => watch.problems.length > 0);
    expect(watch.problems).toEqual([expect.stringMatching(/no checkpoints that are recognised.*notes.*Set `layout`/)]);
    writeStep(dir, writerOf('hf'), { step: 5 });
    await until('step 5 is found', () => watch.steps().includes(5));
  });

  test('says which layouts it sees where there is more than one, takes nothing, and goes on when one of them is removed', async () => {
    const dir = scratch();
    for (const layout of ['hf', 'torchtune']) writeStep(dir, writerOf(layout), { step: 5 });
    const watch = startWatch(dir, 'auto');
    await until('it is told', () => watch.problems.length > 0);
    expect(watch.problems).toEqual([expect.stringMatching(/more than one layout: hf, torchtune\. Set `layout`/)]);
    expect(watch.taken).toEqual([]);
    rmSync(join(dir, 'epoch_5'), { recursive: true });
    await until('step 5 is found', () => watch.steps().includes(5));
  });

  test('takes the final adapter beside the steps for no layout of its own', async () => {
    const dir = scratch();
    for (const layout of ['adapter', 'hf']) writeStep(dir, writerOf(layout), { step: 5 });
    const watch = startWatch(dir, 'auto', { settleMs: 5 });
    await until('step 5 is found', () => watch.steps().includes(5));
    expect(watch.steps()).toEqual([5]);
  });

  test('a plain adapter turns into steps when a trainer writes them there', async () => {
    const dir = scratch();
    writeStep(dir, writerOf('adapter'), { step: 0 });
    const watch = startWatch(dir, 'auto', { settleMs: 5 });
    await until('step 0 is found', () => watch.steps().includes(0));
    writeStep(dir, writerOf('hf'), { step: 5 });
    await until('step 5 is found', () => watch.steps().includes(5));
  });

  test.each(['art', 'prime-rl'] as const)(
    '%s is known when its directory of steps itself is watched',
    async (layout) => {
      const dir = scratch();
      const writer = writerOf(layout);
      writeStep(dir, writer, { step: 5 });
      const inside = join(dir, writer.stepDir(5), '..');
      const watch = startWatch(inside, 'auto', { settleMs: 5 });
      await until('step 5 is found', () => watch.steps().includes(5));
    },
  );
});

describe('two directories of one step', () => {
  test('the one whose name sorts last counts, and that is told once', async () => {
    const dir = scratch();
    for (const step of [5, 6]) {
      mkdirSync(join(dir, `global_step${step}`));
      writeFileSync(join(dir, `global_step${step}`, 'mp_rank_00_model_states.pt'), 'state');
      writeStep(dir, writerOf('openrlhf'), { step });
    }
    const watch = startWatch(dir, 'auto');
    await until('both are found', () => watch.taken.length === 2);
    expect(watch.found.map(({ stepDir }) => stepDir).toSorted()).toEqual(
      [5, 6].map((step) => join(dir, `global_step${step}_hf`)),
    );
    expect(watch.problems).toEqual([expect.stringMatching(/are the same step/)]);
  });
});

describe('OpenRLHF with ZeRO 3', () => {
  test('what it writes first and removes again is not taken: the pickle that stays is', async () => {
    const dir = scratch();
    const stepDir = 'global_step5_hf';
    const dirs: string[] = [];
    const watch = startWatch(dir, 'openrlhf', { onFound: async (found) => void dirs.push(found.dir) });
    put(dir, { path: join(stepDir, 'adapter_model.safetensors'), bytes: weightsOf(1) });
    put(dir, { path: join(stepDir, 'adapter_config.json'), bytes: configOf(1) });
    await watch.looked();
    put(dir, { path: join(stepDir, 'adapter_model.bin'), bytes: Buffer.from('a pickle') });
    rmSync(join(dir, stepDir, 'adapter_model.safetensors'));
    await watch.looked();
    expect(dirs).toEqual([]);
    put(dir, { path: join(stepDir, 'config.json'), bytes: Buffer.from('{"architectures": ["LlamaForCausalLM"]}') });
    await until('it is found', () => dirs.length === 1);
    expect(await inspect(join(dir, stepDir))).toMatchObject({
      kind: 'whole',
      contents: { pickle: 'adapter_model.bin' },
    });
  });
});

describe('a full model', () => {
  test.each(['verl', 'skyrl'] as const)(
    '%s: is found as such when the step is complete without an adapter',
    async (layout) => {
      const dir = scratch();
      const dirs: string[] = [];
      const watch = startWatch(dir, layout, { settleMs: 5, onFound: async (found) => void dirs.push(found.dir) });
      const pieces = writerOf(layout)
        .pieces(5, 5)
        .filter(({ path }) => !path.includes('lora_adapter'));
      for (const piece of pieces.slice(0, -1)) put(dir, piece);
      await watch.looked();
      expect(dirs).toEqual([]); // an adapter may still come
      for (const piece of pieces.slice(-1)) put(dir, piece);
      await until('it is found', () => dirs.length === 1);
      expect(await inspect(dirs[0] ?? '')).toMatchObject({ contents: { architecture: 'LlamaForCausalLM' } });
    },
  );
});
