// What an engine would refuse to serve, or would serve wrongly without a word, told before any engine sees the files.
// Pure, over what inspect.ts has read. One row per fact about vLLM; a new fact is a new row in OBJECTIONS.
import { z } from 'zod';
import type { Tensor } from './safetensors.ts';

/** What is known of a checkpoint's directory without reading its tensors. */
export interface Contents {
  /** adapter_config.json, parsed; undefined where there is none. */
  readonly config: unknown;
  /** adapter_model.safetensors' tensors; undefined where there is none. */
  readonly tensors: ReadonlyMap<string, Tensor> | undefined;
  /** adapter_model.bin or .pt, when it is there instead. */
  readonly pickle: string | undefined;
  /** `architectures[0]` of a config.json without an adapter_config.json beside it: a full model. */
  readonly architecture: string | undefined;
}

export type Verdict =
  | { readonly kind: 'servable'; readonly rank: number }
  /** Sentences for people; never empty. */
  | { readonly kind: 'unservable'; readonly reasons: readonly string[] };

const Required = z.object({
  peft_type: z.literal('LORA', 'peft_type must be "LORA": engines serve no other kind of adapter.'),
  r: z
    .number('r (the rank) is missing or no number.')
    .int('r (the rank) must be an integer.')
    .positive('r (the rank) must be at least 1.'),
  lora_alpha: z.number('lora_alpha is missing or no number.'),
  target_modules: z
    .union([z.string(), z.array(z.string())], 'target_modules is missing, or no list of names.')
    .refine((modules) => modules.length > 0, 'target_modules is empty.'),
});

type Config = Readonly<Record<string, unknown>>;

/** Keys of adapter_config.json, when they object, and what people are told. */
const OBJECTIONS: readonly (readonly [key: string, objects: (value: unknown) => boolean, reason: string])[] = [
  ['use_dora', isSet, 'use_dora: vLLM does not support DoRA. Train with use_dora false.'],
  ['bias', (value) => isSet(value) && value !== 'none', 'bias is not "none": vLLM does not support adapter biases.'],
  ['lora_bias', isSet, 'lora_bias: vLLM does not support adapter biases.'],
  ['modules_to_save', isSet, 'modules_to_save: vLLM serves LoRA matrices only, not fully trained modules.'],
  ['trainable_token_indices', isSet, 'trainable_token_indices: vLLM does not support trained tokens.'],
  ['layer_replication', isSet, 'layer_replication: vLLM does not support replicated layers.'],
  [
    'alora_invocation_tokens',
    isSet,
    'alora_invocation_tokens: activated LoRA would be served as plain LoRA, which is wrong.',
  ],
  ['use_qalora', isSet, 'use_qalora: vLLM does not support QALoRA.'],
  ['rank_pattern', isSet, 'rank_pattern: vLLM ignores ranks per module and would serve wrong weights silently.'],
  ['alpha_pattern', isSet, 'alpha_pattern: vLLM ignores alphas per module and would serve wrong weights silently.'],
  ['lora_alpha', (value) => value === 0, 'lora_alpha is 0: the adapter would do nothing, and silently so.'],
];

export function preflight(contents: Contents): Verdict {
  if (contents.architecture !== undefined) {
    return unservable([
      `This is a full model (${contents.architecture}), not a LoRA adapter: there is a config.json but no adapter_config.json. Serve it as an engine's base.`,
    ]);
  }
  const reasons: string[] = [];
  const required = Required.safeParse(contents.config);
  if (!required.success) reasons.push(...required.error.issues.map((issue) => `adapter_config.json: ${issue.message}`));
  const config = asConfig(contents.config);
  for (const [key, objects, reason] of OBJECTIONS) if (objects(config[key])) reasons.push(reason);
  if (contents.tensors === undefined) {
    const instead =
      contents.pickle === undefined ? '' : ` ${contents.pickle} is a pickle, which can run code, and is never loaded.`;
    reasons.push(`There is no adapter_model.safetensors.${instead} Save with safetensors.`);
  } else if (contents.tensors.size === 0) {
    reasons.push('adapter_model.safetensors holds no tensors.');
  }
  if (reasons.length > 0 || !required.success) return unservable(reasons);
  return { kind: 'servable', rank: required.data.r };
}

const unservable = (reasons: readonly string[]): Verdict => ({ kind: 'unservable', reasons });

function asConfig(value: unknown): Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Config) : {};
}

/** PEFT writes what is unused as null, false, [] or {}. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return true;
}
