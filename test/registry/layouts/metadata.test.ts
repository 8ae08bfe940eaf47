// What is read from the trainer's files about a step: metrics as of that step, the model's class, the library.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { art } from '../../../src/registry/layouts/art.ts';
import { hf } from '../../../src/registry/layouts/hf.ts';
import { verl } from '../../../src/registry/layouts/verl.ts';
import { metricsIn } from '../../../src/registry/metadata.ts';
import { CONFIG, scratch, writeCheckpoint } from '../fixtures.ts';

/** As the HF Trainer writes it. */
function stateOf(rows: readonly object[], more: object = {}): string {
  const state = {
    best_metric: null,
    best_model_checkpoint: null,
    epoch: 1.5,
    global_step: 30,
    log_history: rows,
    ...more,
  };
  return `${JSON.stringify({ ...state, stateful_callbacks: { TrainerControl: { args: { should_log: false } } } }, null, 2)}\n`;
}

describe('metrics of a step', () => {
  const rows = [
    { epoch: 0.5, learning_rate: 0.001, loss: 3, step: 10 },
    { epoch: 0.5, eval_loss: 3.1, step: 10 },
    { epoch: 1, learning_rate: 0.0005, loss: 2, step: 20 },
    { epoch: 1.5, learning_rate: 0, loss: 1, step: 30 },
    { epoch: 1.5, eval_loss: 1.1, step: 30 },
  ];

  test.each([
    [5, {}],
    [10, { epoch: 0.5, learning_rate: 0.001, loss: 3, eval_loss: 3.1 }],
    [25, { epoch: 1, learning_rate: 0.0005, loss: 2, eval_loss: 3.1 }],
    [30, { epoch: 1.5, learning_rate: 0, loss: 1, eval_loss: 1.1 }],
  ])('of step %i: of each the last row that has it, train and eval merged', (step, metrics) => {
    expect(metricsIn(stateOf(rows), step)).toEqual(metrics);
  });

  test.each<[string, string, object]>([
    [
      'a loss that was NaN in the last row is none, not the last but one',
      '{"loss": 1, "step": 1} {"loss": NaN, "step": 2}',
      {},
    ],
    ['Infinity is none', '{"loss": -Infinity, "grad_norm": Infinity, "eval_loss": 2, "step": 2}', { eval_loss: 2 }],
    ['rows out of order', '{"loss": 2, "step": 2}\n{"loss": 1, "step": 1}', { loss: 2 }],
    ['words and nested values are no metrics', '{"loss": "low", "tags": ["a"], "ok": true, "step": 1}', {}],
    ['a row that is cut off', '"step": 1}\n{"loss": 2, "step": 1}\n{"loss": 3, "st', { loss: 2 }],
    ['names that are not names', '{"__proto__": 1, "step": 1}', {}],
    ['no log at all', '{"global_step": 3, "best_metric": 0.5}', {}],
  ])('%s', (_, text, metrics) => expect(metricsIn(text, 2)).toEqual(metrics));

  test('of the HF Trainer come from trainer_state.json', async () => {
    const dir = writeCheckpoint(scratch(), { marker: false });
    writeFileSync(
      join(dir, 'trainer_state.json'),
      stateOf(rows, { best_metric: 1.1, best_model_checkpoint: '/elsewhere/x' }),
    );
    expect((await hf.details(dir, 30)).metrics).toEqual({ epoch: 1.5, learning_rate: 0, loss: 1, eval_loss: 1.1 });
  });

  test('of ART come from history.jsonl of the model, by split', async () => {
    const dir = scratch();
    const five = writeCheckpoint(join(dir, 'checkpoints', '0005'), { marker: false });
    const row = (more: object) => `${JSON.stringify({ ...more, recorded_at: '2026-01-01T00:00:00' })}\n`;
    writeFileSync(
      join(dir, 'history.jsonl'),
      row({ 'train/loss': 0.2, training_step: 5, step: 5 }) +
        row({ 'val/reward': 0.7, step: 5 }) +
        row({ 'val/reward': 0.9, step: 6 }),
    );
    expect((await art.details(five, 5)).metrics).toEqual({ 'train/loss': 0.2, 'val/reward': 0.7 });
  });

  test('a state of many megabytes is judged and read by its end', async () => {
    const dir = writeCheckpoint(scratch(), { marker: false });
    const many = Array.from({ length: 60_000 }, (_, index) => ({ epoch: 0, loss: index, step: index + 1 }));
    const path = join(dir, 'trainer_state.json');
    writeFileSync(path, stateOf(many));
    expect((await hf.marker(dir)).kind).toBe('finished');
    expect((await hf.details(dir, 60_000)).metrics).toMatchObject({ loss: 59_999 });
    const text = stateOf(many);
    for (const end of [text.length - 3, text.indexOf('}', 1_000_000) + 1]) {
      writeFileSync(path, text.slice(0, end));
      expect((await hf.marker(dir)).kind).toBe('unfinished');
    }
  });
});

describe('architecture and library', () => {
  test.each<[string, Record<string, string>, object]>([
    ['nothing is said', {}, { architecture: undefined, library: undefined }],
    [
      'the adapter config says both',
      {
        'adapter_config.json': JSON.stringify({
          ...CONFIG,
          peft_version: '0.18.0',
          auto_mapping: { base_model_class: 'Qwen3ForCausalLM', parent_library: 'transformers' },
        }),
      },
      { architecture: 'Qwen3ForCausalLM', library: 'peft 0.18.0' },
    ],
    [
      'a full model, or the base beside the adapter',
      { 'config.json': '{"architectures": ["LlamaForCausalLM"], "transformers_version": "5.2.0"}' },
      { architecture: 'LlamaForCausalLM', library: 'transformers 5.2.0' },
    ],
    [
      'the model card',
      { 'README.md': '---\nbase_model: x\n---\n### Framework versions\n\n- PEFT 0.17.1' },
      { library: 'peft 0.17.1' },
    ],
    ['nonsense', { 'config.json': '{"architectures": [', 'README.md': '- PEFT of old' }, { library: undefined }],
    [
      'other kinds of values',
      { 'config.json': '{"architectures": "x", "transformers_version": 5}' },
      { architecture: undefined },
    ],
  ])('%s', async (_, files, details) => {
    const dir = writeCheckpoint(scratch(), { marker: false });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
    expect(await hf.details(dir, 5)).toMatchObject({ metrics: {}, ...details });
  });

  test('of verl come from the config that it saves beside the shards', async () => {
    const dir = scratch();
    writeCheckpoint(join(dir, 'actor', 'lora_adapter'), { marker: false });
    mkdirSync(join(dir, 'actor', 'huggingface'));
    writeFileSync(join(dir, 'actor', 'huggingface', 'config.json'), '{"architectures": ["Qwen3ForCausalLM"]}');
    expect(await verl.details(dir, 5)).toMatchObject({ architecture: 'Qwen3ForCausalLM' });
  });

  test('a step that is gone meanwhile has none, and nothing is thrown', async () => {
    expect(await hf.details(join(scratch(), 'gone'), 5)).toEqual({
      metrics: {},
      architecture: undefined,
      library: undefined,
    });
  });
});
