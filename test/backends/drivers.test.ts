// Every kind of engine keeps the promises of a driver, each against a stand-in with its own quirks.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { createSglangDriver } from '../../src/backends/sglang.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { conformance } from './conformance.ts';
import { hosted } from './engines/hosted.ts';
import { LORAX_REFUSALS, lorax } from './engines/lorax.ts';
import { weightsIn } from './engines/server.ts';
import { SGLANG_REFUSALS, sglang } from './engines/sglang.ts';
import { vllm, worker } from './engines/vllm.ts';
import { soon, weightsAt } from './playing.ts';

conformance('vllm', {
  start: vllm,
  loads: true,
  lists: true,
  refusals: [
    [
      'its rank is too great',
      worker('LoRA rank 64 is greater than max_lora_rank 16.'),
      'adapter',
      /--max-lora-rank 64/,
    ],
    [
      'it runs without LoRA',
      worker('LoRA is not enabled. Use --enable-lora to enable LoRA.'),
      'backend',
      /--enable-lora/,
    ],
    ['its memory is full', worker('CUDA out of memory'), 'backend', /out of memory/],
  ],
  sneaky: {},
});

conformance('sglang', {
  start: () => sglang(),
  loads: true,
  lists: true,
  refusals: [
    ['its rank is too great', SGLANG_REFUSALS.rank, 'adapter', /--max-lora-rank/],
    ['DoRA', SGLANG_REFUSALS.dora, 'adapter', /DoRA/],
    ['it runs without LoRA', SGLANG_REFUSALS.withoutLora, 'backend', /--enable-lora/],
    ['it does not see the path', SGLANG_REFUSALS.noPath, 'backend', /cannot see .*storePath/],
    ['it fails', SGLANG_REFUSALS.assertion, 'backend', /Internal Server Error.*--enable-dp-attention/],
    ['it has no such route', SGLANG_REFUSALS.tooOld, 'backend', /no route to load/],
  ],
  sneaky: { lora_path: 'my-model@40' },
});

conformance('lorax', {
  start: () => lorax(),
  loads: true,
  lists: false,
  refusals: [
    ['its rank is too great', LORAX_REFUSALS.rank, 'adapter', /refused it.*rank/],
    ['it does not see the path', LORAX_REFUSALS.noPath, 'backend', /cannot see .*storePath/],
    ['its memory is full', LORAX_REFUSALS.memory, 'backend', /out of memory/],
    ['it takes no such request', LORAX_REFUSALS.input, 'backend', /failed to load/],
  ],
  sneaky: { adapter_source: 'hub', adapter_id: 'my-model@40' },
});

conformance('openai-compatible', {
  start: ({ pathOf }) =>
    hosted({ models: { 'run/000005': weightsIn(pathOf(5)), 'run/000040': weightsIn(pathOf(40)) } }),
  options: { bases: ['base' as never], models: { 'my-model': 'run/{step:06}' } },
  loads: false,
  lists: false,
  refusals: [],
  sneaky: {},
});

test('SGLang that holds an adapter and does not list it fails the load, rather than have its callers wait', async () => {
  const engine = await sglang({ age: 'unlisted' });
  const dispatcher = new Pool(new URL(engine.url).origin);
  onTestFinished(() => dispatcher.destroy());
  const driver = createSglangDriver({ url: engine.url, dispatcher });
  const dir = await mkdtemp(join(tmpdir(), 'stepgate-sglang-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const five = weightsAt(await writeCheckpoint({ dir, step: 5 }), 5);
  expect(await driver.load(five, soon())).toEqual({ kind: 'loaded' });
  const again = { kind: 'failed', fault: 'backend', message: expect.stringMatching(/does not list it.*0\.5\.5/) };
  expect(await driver.load(five, soon())).toEqual(again);
});
