// A pretended trainer: writes LoRA checkpoints as the HF Trainer lays them out and in its order, trainer_state.json last.
// The files are small but real; with the default sizes the test model of test/vllm loads them. Also writes bad ones, for tests.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** What is wrong with a checkpoint. `half` and `unfinished` are what a reader sees while a trainer still writes. */
export type Flaw =
  /** Half of the tensors' file, nothing else yet. */
  | 'half'
  /** All but trainer_state.json. */
  | 'unfinished'
  | 'truncated'
  | 'noTensors'
  | 'noConfig'
  | 'badConfig'
  | 'dora'
  | 'bias'
  | 'modulesToSave'
  /** adapter_model.bin instead of safetensors. */
  | 'pickle';

export interface CheckpointOptions {
  /** The trainer's output directory; `checkpoint-<step>` is made in it. */
  readonly dir: string;
  readonly step: number;
  /** Other weights for the same step. */
  readonly seed?: number;
  /** base_model_name_or_path. */
  readonly base?: string;
  readonly rank?: number;
  /** Training loss of this step; default: a falling curve. */
  readonly loss?: number;
  /** Steps between the rows of the log. */
  readonly logEvery?: number;
  readonly layers?: number;
  readonly hidden?: number;
  readonly flaw?: Flaw;
  /** Waits between files, as a slow disk would. */
  readonly pauseMs?: number;
}

/** Returns the checkpoint's directory. Writes over one that is there, file by file, as trainers do. */
export async function writeCheckpoint(options: CheckpointOptions): Promise<string> {
  const path = join(options.dir, `checkpoint-${options.step}`);
  await mkdir(path, { recursive: true });
  for (const [i, [name, content]] of filesOf(options).entries()) {
    if (i > 0 && options.pauseMs) await setTimeout(options.pauseMs);
    await writeFile(join(path, name), content);
  }
  return path;
}

/** In the order in which the trainer writes them. */
function filesOf(options: CheckpointOptions): (readonly [name: string, content: string | Buffer])[] {
  const { flaw } = options;
  const tensors = encodeSafetensors(tensorsOf(options));
  const weights = ['adapter_model.safetensors', tensors] as const;
  const config = ['adapter_config.json', JSON.stringify(configOf(options), null, 2)] as const;
  const rest = [
    ['tokenizer_config.json', '{}\n'],
    ['optimizer.pt', 'not a real one\n'],
    ['scheduler.pt', 'not a real one\n'],
  ] as const;
  const state = ['trainer_state.json', JSON.stringify(stateOf(options), null, 2)] as const;
  const half = tensors.subarray(0, Math.floor(tensors.length / 2));
  switch (flaw) {
    case 'half':
      return [[weights[0], half]];
    case 'truncated':
      return [[weights[0], half], config, ...rest, state];
    case 'unfinished':
      return [weights, config, ...rest];
    case 'noTensors':
      return [config, ...rest, state];
    case 'noConfig':
      return [weights, ...rest, state];
    case 'badConfig':
      return [weights, [config[0], '{"r": '], ...rest, state];
    case 'pickle':
      return [['adapter_model.bin', 'not a real one\n'], config, ...rest, state];
    default:
      return [weights, config, ...rest, state];
  }
}

function configOf({ base = 'base', rank = 8, flaw }: CheckpointOptions) {
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: 16,
    lora_dropout: 0,
    target_modules: ['q_proj', 'v_proj'],
    bias: flaw === 'bias' ? 'all' : 'none',
    modules_to_save: flaw === 'modulesToSave' ? ['lm_head'] : null,
    use_dora: flaw === 'dora',
    use_rslora: false,
    rank_pattern: {},
    alpha_pattern: {},
  };
}

function stateOf({ step, loss, logEvery = 10 }: CheckpointOptions) {
  const steps = Array.from({ length: Math.floor((step - 1) / logEvery) }, (_, i) => (i + 1) * logEvery);
  const curve = (at: number) => 0.4 + 2.6 * Math.exp(-at / 40);
  const rows = [...steps, step].flatMap((at) => {
    const value = at === step && loss !== undefined ? loss : curve(at);
    return [
      { step: at, epoch: at / 100, loss: value, learning_rate: 1e-4, grad_norm: 1 },
      { step: at, epoch: at / 100, eval_loss: value + 0.1 },
    ];
  });
  return {
    global_step: step,
    epoch: step / 100,
    max_steps: 100,
    best_metric: null,
    best_global_step: null,
    best_model_checkpoint: null,
    log_history: rows,
  };
}

interface Tensor {
  readonly name: string;
  readonly shape: readonly [number, number];
  readonly values: Float32Array;
}

function tensorsOf({ step, seed = 0, rank = 8, layers = 4, hidden = 256 }: CheckpointOptions): Tensor[] {
  const random = randomFrom(seed * 1_000_003 + step);
  const tensors: Tensor[] = [];
  for (let layer = 0; layer < layers; layer += 1) {
    for (const projection of ['q_proj', 'v_proj']) {
      const name = `base_model.model.model.layers.${layer}.self_attn.${projection}`;
      const values = () => Float32Array.from({ length: rank * hidden }, () => (random() - 0.5) * 0.7);
      tensors.push({ name: `${name}.lora_A.weight`, shape: [rank, hidden], values: values() });
      tensors.push({ name: `${name}.lora_B.weight`, shape: [hidden, rank], values: values() });
    }
  }
  return tensors;
}

/** 8 bytes of header length, a JSON header padded with spaces to a multiple of 8, the tensors without gaps. */
function encodeSafetensors(tensors: readonly Tensor[]): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...tensors.map(({ values }) => Buffer.from(values.buffer))]);
}

/** mulberry32: in [0, 1), the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
