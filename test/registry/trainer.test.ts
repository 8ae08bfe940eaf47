// A trainer's directory in, checkpoints out: discovery and the registry together.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { answer, DORA, openRegistry, safetensors, scratch, until, weightsOf, writeCheckpoint } from './fixtures.ts';

describe('discovery', () => {
  test('registers what a trainer writes; rotating it away afterwards changes nothing', async () => {
    const watch = scratch();
    const { registry, changes, problems } = await openRegistry(scratch(), {
      models: { m: { watch, latest: 'published' } },
      rescanMs: 20,
    });
    registry.watch();
    for (const step of [10, 20, 30]) {
      writeCheckpoint(join(watch, `checkpoint-${step}`), { seed: step });
      await until(`step ${step} is served`, () => answer(registry, 'm') === `m@${step}`);
      rmSync(join(watch, `checkpoint-${step}`), { recursive: true });
    }
    expect(changes.map((change) => change.checkpoint.name)).toEqual(['m@10', 'm@20', 'm@30']);
    expect(weightsOf(registry.catalog.find('m@10') ?? expect.fail('m@10'))).toEqual(safetensors(10));
    expect(problems).toEqual([]);
  });

  test('a step that is rewritten in place is the next revision; the first keeps its weights', async () => {
    const watch = scratch();
    const five = writeCheckpoint(join(watch, 'checkpoint-5'), { seed: 1 });
    const { registry, changes } = await openRegistry(scratch(), { models: { m: { watch } }, rescanMs: 20 });
    registry.watch();
    await until('revision 1', () => changes.length === 1);
    writeCheckpoint(five, { seed: 2 });
    await until('revision 2', () => changes.length === 2);
    expect(registry.catalog.find('m@5')).toMatchObject({ revision: 2 });
    expect(changes[1]).toMatchObject({ replaced: { revision: 1 } });
    expect(weightsOf(changes[0]?.checkpoint ?? expect.fail('nothing'))).toEqual(safetensors(1));
  });

  test('records what is not servable, with its reasons, in place of what was', async () => {
    const watch = scratch();
    const five = writeCheckpoint(join(watch, 'checkpoint-5'));
    const { registry, changes } = await openRegistry(scratch(), { models: { m: { watch } }, rescanMs: 20 });
    registry.watch();
    await until('it is registered', () => changes.length === 1);
    writeCheckpoint(five, { config: DORA });
    await until('it is judged', () => changes.length === 2);
    expect(changes[1]).toMatchObject({
      kind: 'unservable',
      replaced: { revision: 1 },
      checkpoint: { revision: 2, adapter: undefined },
    });
    expect(answer(registry, 'm@5')).toBe('checkpoint_not_servable');
  });

  test('does not bring a deleted step back, not even after a restart; files written again do', async () => {
    const dataDir = scratch();
    const watch = scratch();
    const five = writeCheckpoint(join(watch, 'checkpoint-5'), { seed: 1 });
    const options = { models: { m: { watch } }, rescanMs: 10 };
    const first = await openRegistry(dataDir, options);
    first.registry.watch();
    await until('it is registered', () => first.changes.length === 1);
    first.registry.remove('m@5');
    writeCheckpoint(join(watch, 'checkpoint-6'));
    await until('another scan is over', () => answer(first.registry, 'm@6') === 'm@6');
    expect(answer(first.registry, 'm@5')).toBe('checkpoint_deleted');
    await first.registry.close();
    const second = await openRegistry(dataDir, options);
    second.registry.watch();
    writeCheckpoint(join(watch, 'checkpoint-7'));
    await until('another scan is over', () => answer(second.registry, 'm@7') === 'm@7');
    expect(answer(second.registry, 'm@5')).toBe('checkpoint_deleted');
    writeCheckpoint(five, { seed: 2 });
    await until('the new files are served', () => answer(second.registry, 'm@5') === 'm@5');
  });

  test('does not undo an explicit registration of other weights, not even after a restart', async () => {
    const dataDir = scratch();
    const watch = scratch();
    writeCheckpoint(join(watch, 'checkpoint-5'), { seed: 1 });
    const options = { models: { m: { watch } }, rescanMs: 10 };
    const first = await openRegistry(dataDir, options);
    first.registry.watch();
    await until('it is found', () => first.changes.length === 1);
    const asked = await first.registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 2 }) });
    await first.registry.close();
    const second = await openRegistry(dataDir, options);
    second.registry.watch();
    writeCheckpoint(join(watch, 'checkpoint-6'));
    await until('a scan is over', () => answer(second.registry, 'm@6') === 'm@6');
    expect(second.registry.catalog.find('m@5')).toEqual(asked);
  });

  test('remembers files that held nothing new, and does not take them for new ones after a restart', async () => {
    const dataDir = scratch();
    const watch = scratch();
    const options = { models: { m: { watch } }, rescanMs: 10 };
    const first = await openRegistry(dataDir, options);
    await first.registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 1 }) });
    writeCheckpoint(join(watch, 'checkpoint-5'), { seed: 1 });
    first.registry.watch();
    writeCheckpoint(join(watch, 'checkpoint-6'));
    await until('both were looked at', () => answer(first.registry, 'm@6') === 'm@6');
    const asked = await first.registry.register({ name: 'm@5', path: writeCheckpoint(scratch(), { seed: 2 }) });
    await first.registry.close();
    const second = await openRegistry(dataDir, options);
    second.registry.watch();
    writeCheckpoint(join(watch, 'checkpoint-7'));
    await until('a scan is over', () => answer(second.registry, 'm@7') === 'm@7');
    expect(second.registry.catalog.find('m@5')).toEqual(asked);
  });

  test('a watched directory may lie outside the roots', async () => {
    const watch = scratch();
    writeCheckpoint(join(watch, 'checkpoint-5'));
    const { registry } = await openRegistry(scratch(), { models: { m: { watch } }, roots: [scratch()] });
    registry.watch();
    await until('it is served', () => answer(registry, 'm@5') === 'm@5');
  });

  test('tells layouts apart, and keeps what the trainer says of a step', async () => {
    const watch = scratch();
    const { registry, problems } = await openRegistry(scratch(), {
      models: { m: { watch, layout: 'auto' } },
      rescanMs: 20,
    });
    registry.watch();
    mkdirSync(join(watch, 'checkpoints'));
    writeFileSync(join(watch, 'history.jsonl'), '{"val/reward": 0.5, "step": 5}\n{"val/reward": 0.75, "step": 6}\n');
    for (const step of ['0005', '0006']) writeCheckpoint(join(watch, 'checkpoints', step), { marker: false });
    await until('both are served', () => answer(registry, 'm@5') === 'm@5' && answer(registry, 'm@6') === 'm@6');
    expect(registry.catalog.find('m@5')?.details.metrics).toEqual({ 'val/reward': 0.5 });
    expect(registry.catalog.find('m@6')?.details.metrics).toEqual({ 'val/reward': 0.75 });
    expect(problems).toEqual([]);
  });

  test('loses none of a trainer that keeps two, though hundreds of others are being taken', async () => {
    const watch = scratch();
    const backlog = 300;
    for (let step = 1; step <= backlog; step++) writeCheckpoint(join(watch, `checkpoint-${step}`), { seed: step });
    const { registry, problems } = await openRegistry(scratch(), { models: { m: { watch, layout: 'hf' } } });
    registry.watch();
    const steps = Array.from({ length: 8 }, (_, index) => backlog + 1 + index);
    for (const step of steps) {
      writeCheckpoint(join(watch, `checkpoint-${step}`), { seed: step });
      await new Promise((resolve) => setTimeout(resolve, 250)); // the pace of the trainer, not a wait for the registry
      if (step > backlog + 2) rmSync(join(watch, `checkpoint-${step - 2}`), { recursive: true });
    }
    await until('the last is served', () => answer(registry, `m@${steps.at(-1)}`) === `m@${steps.at(-1)}`);
    expect(steps.filter((step) => answer(registry, `m@${step}`) !== `m@${step}`)).toEqual([]);
    expect(problems).toEqual([]);
  });
});
