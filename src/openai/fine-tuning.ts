// A model's steps as OpenAI lists the checkpoints of a fine-tuning job, so that its SDKs page through them unchanged. The job is the model.
// Pure: the shape only.
import type { Checkpoint } from '../domain.ts';

export interface JobCheckpoint {
  readonly object: 'fine_tuning.job.checkpoint';
  /** `ftckpt_` and the checkpoint's UUID without dashes. */
  readonly id: string;
  /** Unix seconds. */
  readonly created_at: number;
  /** What to ask for: `my-model@5`. */
  readonly fine_tuned_model_checkpoint: string;
  readonly fine_tuning_job_id: string;
  readonly step_number: number;
  /** Those of OpenAI's metrics that the trainer has told. */
  readonly metrics: Metrics;
}

export interface JobCheckpoints {
  readonly object: 'list';
  readonly data: readonly JobCheckpoint[];
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly has_more: boolean;
}

type Metrics = Readonly<Record<string, number>>;

/** OpenAI's metrics, and what trainers call them: the first that is known. */
const METRICS = {
  train_loss: ['loss', 'train_loss'],
  train_mean_token_accuracy: ['mean_token_accuracy', 'train_mean_token_accuracy'],
  valid_loss: ['eval_loss', 'valid_loss', 'val_loss'],
  valid_mean_token_accuracy: ['eval_mean_token_accuracy', 'valid_mean_token_accuracy'],
} as const satisfies Record<string, readonly string[]>;

/** One of OpenAI's metrics, by whichever of its names the trainer used. */
export function metricOf(metrics: Metrics, metric: keyof typeof METRICS): number | undefined {
  const name = METRICS[metric].find((known) => Object.hasOwn(metrics, known));
  return name === undefined ? undefined : metrics[name];
}

export const jobCheckpointId = ({ id }: Checkpoint): string => `ftckpt_${id.replaceAll('-', '')}`;

function jobCheckpoint(checkpoint: Checkpoint & { step: number }): JobCheckpoint {
  const { model, name, step, createdAtMs, details } = checkpoint;
  const metrics: Record<string, number> = { step };
  for (const metric of Object.keys(METRICS) as (keyof typeof METRICS)[]) {
    const value = metricOf(details.metrics, metric);
    if (value !== undefined) metrics[metric] = value;
  }
  return {
    object: 'fine_tuning.job.checkpoint',
    id: jobCheckpointId(checkpoint),
    created_at: Math.floor(createdAtMs / 1000),
    fine_tuned_model_checkpoint: name,
    fine_tuning_job_id: model,
    step_number: step,
    metrics,
  };
}

export function jobCheckpoints(page: readonly Checkpoint[], hasMore: boolean): JobCheckpoints {
  const data = page.flatMap((checkpoint) =>
    checkpoint.step === undefined ? [] : [jobCheckpoint({ ...checkpoint, step: checkpoint.step })],
  );
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
