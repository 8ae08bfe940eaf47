// Pretended trainers: for each layout the files of a step in the order in which that trainer writes them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LayoutName } from '../../../src/domain.ts';
import { CONFIG, safetensors } from '../fixtures.ts';

/** A file, by its path below the watched directory. */
export interface Piece {
  readonly path: string;
  readonly bytes: Buffer;
}

export interface Writer {
  readonly layout: Exclude<LayoutName, 'auto'>;
  /** The step's own directory, below the watched one. */
  stepDir(step: number): string;
  /** All files of a step, with other weights and another config for another seed. */
  pieces(step: number, seed: number): readonly Piece[];
  /** Whether the last piece says that the step is complete; else its files must settle. */
  readonly marked: boolean;
  /** Whether there is more than one step. */
  readonly steps: boolean;
}

export const weightsOf = (seed: number): Buffer => safetensors(seed);
export const configOf = (seed: number): Buffer => Buffer.from(JSON.stringify({ ...CONFIG, lora_alpha: seed }));

const adapterIn = (dir: string, seed: number): readonly Piece[] => [
  { path: join(dir, 'adapter_model.safetensors'), bytes: weightsOf(seed) },
  { path: join(dir, 'adapter_config.json'), bytes: configOf(seed) },
];

const text = (path: string, content: string): Piece => ({ path, bytes: Buffer.from(content) });
const MODEL = JSON.stringify({ architectures: ['LlamaForCausalLM'], transformers_version: '5.2.0' });

function tree(layout: 'verl' | 'skyrl', role: string, tracker: string): Writer {
  const stepDir = (step: number) => `global_step_${step}`;
  return {
    layout,
    stepDir,
    marked: true,
    steps: true,
    pieces: (step, seed) => [
      text(join(stepDir(step), role, 'model_world_size_1_rank_0.pt'), 'shards'),
      text(join(stepDir(step), role, 'huggingface', 'config.json'), MODEL),
      ...adapterIn(join(stepDir(step), role, 'lora_adapter'), seed),
      text(join(stepDir(step), 'data.pt'), 'state'),
      text(tracker, String(step)),
    ],
  };
}

const hf: Writer = {
  layout: 'hf',
  stepDir: (step) => `checkpoint-${step}`,
  marked: true,
  steps: true,
  pieces: (step, seed) => [
    ...adapterIn(`checkpoint-${step}`, seed),
    text(`checkpoint-${step}/optimizer.pt`, 'state'),
    text(`checkpoint-${step}/trainer_state.json`, `{"global_step": ${step}, "log_history": []}`),
  ],
};

const art: Writer = {
  layout: 'art',
  stepDir: (step) => `checkpoints/${String(step).padStart(4, '0')}`,
  marked: false,
  steps: true,
  pieces: (step, seed) => [
    text('history.jsonl', `{"train/reward": 0.5, "step": ${step}}\n`),
    ...adapterIn(art.stepDir(step), seed),
  ],
};

const primeRl: Writer = {
  layout: 'prime-rl',
  stepDir: (step) => `broadcasts/step_${step}`,
  marked: true,
  steps: true,
  pieces: (step, seed) => [...adapterIn(`broadcasts/step_${step}`, seed), text(`broadcasts/step_${step}/STABLE`, '')],
};

const openrlhf: Writer = {
  layout: 'openrlhf',
  stepDir: (step) => `global_step${step}_hf`,
  marked: true,
  steps: true,
  pieces: (step, seed) => [
    ...adapterIn(openrlhf.stepDir(step), seed),
    text(`${openrlhf.stepDir(step)}/config.json`, MODEL),
  ],
};

const torchtune: Writer = {
  layout: 'torchtune',
  stepDir: (step) => `epoch_${step}`,
  marked: false,
  steps: true,
  pieces: (step, seed) => [
    text(`epoch_${step}/adapter_model.pt`, 'a pickle'),
    ...adapterIn(`epoch_${step}`, seed),
    text(`epoch_${step}/config.json`, MODEL),
  ],
};

const adapter: Writer = {
  layout: 'adapter',
  stepDir: () => '',
  marked: false,
  steps: false,
  pieces: (_, seed) => adapterIn('', seed),
};

export const WRITERS: readonly Writer[] = [
  hf,
  art,
  primeRl,
  tree('verl', 'actor', 'latest_checkpointed_iteration.txt'),
  tree('skyrl', 'policy', 'latest_ckpt_global_step.txt'),
  openrlhf,
  torchtune,
  adapter,
];

export function put(dir: string, { path, bytes }: Piece): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), bytes);
}

export function writeStep(dir: string, writer: Writer, { step, seed = step }: { step: number; seed?: number }): void {
  for (const piece of writer.pieces(step, seed)) put(dir, piece);
}
