import { describe, expect, test } from 'vitest';
import { as, type Checkpoint } from '../../src/domain.ts';
import { jobCheckpoints, metricOf } from '../../src/openai/fine-tuning.ts';

const checkpoint = (step: number | undefined, metrics: Record<string, number> = {}): Checkpoint => ({
  id: as('592f8a7b-30e3-456c-bf10-be1164cba93e'),
  name: as(step === undefined ? 'exact' : `my-model@${step}`),
  model: as('my-model'),
  step,
  revision: 1,
  adapter: undefined,
  base: undefined,
  source: '/runs',
  createdAtMs: 1_795_253_774_730,
  state: { kind: 'servable' },
  details: { metrics, architecture: undefined, library: undefined },
  warnings: [],
});

test('a page is a list with its ends', () => {
  expect(jobCheckpoints([checkpoint(5, { loss: 0.5, eval_loss: 0.6, epoch: 1 })], true)).toEqual({
    object: 'list',
    data: [
      {
        object: 'fine_tuning.job.checkpoint',
        id: 'ftckpt_592f8a7b30e3456cbf10be1164cba93e',
        created_at: 1_795_253_774,
        fine_tuned_model_checkpoint: 'my-model@5',
        fine_tuning_job_id: 'my-model',
        step_number: 5,
        metrics: { step: 5, train_loss: 0.5, valid_loss: 0.6 },
      },
    ],
    first_id: 'ftckpt_592f8a7b30e3456cbf10be1164cba93e',
    last_id: 'ftckpt_592f8a7b30e3456cbf10be1164cba93e',
    has_more: true,
  });
});

test('an empty page has no ends; what has no step is in none', () => {
  expect(jobCheckpoints([checkpoint(undefined)], false)).toEqual({
    object: 'list',
    data: [],
    first_id: null,
    last_id: null,
    has_more: false,
  });
});

describe("OpenAI's metrics are found under the names that trainers use", () => {
  test.each([
    ['train_loss', { loss: 1, train_loss: 2 }, 1],
    ['train_loss', { train_loss: 2 }, 2],
    ['valid_loss', { val_loss: 3 }, 3],
    ['train_mean_token_accuracy', { mean_token_accuracy: 0.9 }, 0.9],
    ['valid_loss', { loss: 1 }, undefined],
    ['valid_loss', { eval_loss: 0 }, 0],
  ] as const)('%s of %j', (metric, metrics, value) => expect(metricOf(metrics, metric)).toBe(value));
});
