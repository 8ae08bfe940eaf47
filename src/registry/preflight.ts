// What an engine would refuse to serve, or would serve wrongly without a word, told before any engine sees the files: `reasons` where it
// is certain that what was trained would not be what answers, `warnings` where it depends on what only people or the engine know.
// Pure, over what inspect.ts has read. One row per fact about vLLM (0.32 where no other version is named); a new fact is a new row.
import { z } from 'zod';
import type { BaseModel } from '../domain.ts';
import { judgeFit } from './base-fit.ts';
import type { BaseModules } from './base-modules.ts';
import type { Tensor } from './safetensors.ts';
import { judgeTensors } from './tensors.ts';

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

/** What was learned elsewhere; without it less is judged. */
export interface Surroundings {
  /** The base that engines will serve the adapter on, once one is known. */
  readonly base?: BaseModel | undefined;
  /** That base's modules, where its files can be read. */
  readonly modules?: BaseModules | undefined;
  /** The name of a tensor that holds NaN (safetensors.ts looks for one). */
  readonly nan?: string | undefined;
}

export type Verdict =
  /** `rank`: what an engine's --max-lora-rank must allow: the greatest of the modules' ranks. `warnings`: sentences for people. */
  | { readonly kind: 'servable'; readonly rank: number; readonly warnings: readonly string[] }
  /** Sentences for people; never empty. */
  | { readonly kind: 'unservable'; readonly reasons: readonly string[] };

const PATTERN = 'rank_pattern must map modules to ranks of at least 1.';

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
  rank_pattern: z.record(z.string(), z.int(PATTERN).positive(PATTERN), PATTERN).nullish(),
});

type Config = Readonly<Record<string, unknown>>;
type Row = readonly [key: string, holds: (value: unknown) => boolean, sentence: string];

/** Of PEFT's other ways to begin, a saved adapter needs a base that was changed at training, and engines serve the unchanged one. */
const PLAIN_INITS: ReadonlySet<string> = new Set(['gaussian', 'eva', 'orthogonal', 'mica', 'lora_ga']);

/** Keys of adapter_config.json, when they object, and what people are told. */
const OBJECTIONS: readonly Row[] = [
  ['use_dora', isSet, 'use_dora: vLLM does not support DoRA. Train with use_dora false.'],
  ['bias', (value) => isSet(value) && value !== 'none', 'bias is not "none": vLLM does not support adapter biases.'],
  ['lora_bias', isSet, 'lora_bias: vLLM does not support adapter biases.'],
  ['modules_to_save', isSet, 'modules_to_save: vLLM serves LoRA matrices only, not fully trained modules.'],
  ['trainable_token_indices', isSet, 'trainable_token_indices: vLLM does not support trained tokens.'],
  ['layer_replication', isSet, 'layer_replication: vLLM does not support replicated layers.'],
  [
    'alora_invocation_tokens',
    isSet,
    'alora_invocation_tokens: vLLM does not support activated LoRA; before 0.32 it serves it as plain LoRA, which is wrong.',
  ],
  ['use_qalora', isSet, 'use_qalora: vLLM does not support QALoRA.'],
  ['use_bdlora', isSet, 'use_bdlora: vLLM does not support block-diagonal LoRA.'],
  [
    'init_lora_weights',
    (value) => typeof value === 'string' && !PLAIN_INITS.has(value.toLowerCase()),
    'init_lora_weights: adapters begun this way (PiSSA, OLoRA, CorDA, LoftQ) belong to a base with changed weights. Convert it with PEFT (path_initial_model_for_weight_conversion).',
  ],
  ['lora_alpha', (value) => value === 0, 'lora_alpha is 0: the adapter would do nothing, and silently so.'],
];

const WARNINGS: readonly Row[] = [
  [
    'rank_pattern',
    isSet,
    'rank_pattern: vLLM 0.32 heeds ranks per module; older versions serve wrong weights without a word.',
  ],
  [
    'alpha_pattern',
    isSet,
    'alpha_pattern: vLLM 0.32 heeds alphas per module; older versions serve wrong weights without a word.',
  ],
];

export function preflight(contents: Contents, surroundings: Surroundings = {}): Verdict {
  if (contents.architecture !== undefined) {
    return unservable([
      `This is a full model (${contents.architecture}), not a LoRA adapter: there is a config.json but no adapter_config.json. Serve it as an engine's base.`,
    ]);
  }
  const config = asConfig(contents.config);
  const required = Required.safeParse(contents.config);
  const reasons = required.success ? [] : required.error.issues.map((issue) => `adapter_config.json: ${issue.message}`);
  reasons.push(...sentences(OBJECTIONS, config));
  if (contents.tensors === undefined) reasons.push(withoutTensors(contents.pickle));
  if (surroundings.nan !== undefined)
    reasons.push(
      `The tensor ${surroundings.nan} holds NaN: every answer would be noise. The training run has diverged.`,
    );
  if (!required.success || contents.tensors === undefined) return unservable(reasons);
  const { r, rank_pattern, target_modules } = required.data;
  const ranks = [r, ...Object.values(rank_pattern ?? {})];
  const judged = judgeTensors(contents.tensors, { ranks, modules: target_modules });
  const { base, modules } = surroundings;
  const fit =
    base?.root === undefined || modules === undefined
      ? { reasons: [], warnings: [] }
      : judgeFit(judged.pairs, { root: base.root, modules, isTransposed: isSet(config.fan_in_fan_out) });
  reasons.push(...judged.reasons, ...fit.reasons);
  if (reasons.length > 0) return unservable(reasons);
  const warnings = [...sentences(WARNINGS, config), ...judged.warnings, ...fit.warnings, ...otherBase(config, base)];
  return { kind: 'servable', rank: Math.max(...ranks), warnings };
}

/** Which of the backends would load an adapter of this rank, and which would refuse it; one that does not say its limit is believed. */
export function servableOn<B extends { readonly rankMax?: number | undefined }>(
  rank: number,
  backends: readonly B[],
): { readonly ready: readonly B[]; readonly refusing: readonly B[] } {
  const isReady = ({ rankMax }: B) => rankMax === undefined || rank <= rankMax;
  return { ready: backends.filter(isReady), refusing: backends.filter((backend) => !isReady(backend)) };
}

const sentences = (rows: readonly Row[], config: Config): string[] =>
  rows.flatMap(([key, holds, sentence]) => (holds(config[key]) ? [sentence] : []));

function withoutTensors(pickle: string | undefined): string {
  const instead = pickle === undefined ? '' : ` ${pickle} is a pickle, which can run code, and is never loaded.`;
  return `There is no adapter_model.safetensors.${instead} Save with safetensors.`;
}

/** Only a warning: a base has other paths on other machines. The last part of each is compared. */
function otherBase(config: Config, base: BaseModel | undefined): string[] {
  const trained = config.base_model_name_or_path;
  if (typeof trained !== 'string' || trained === '' || base?.root === undefined) return [];
  if ([base.name, base.root].some((served) => sameModel(trained, served))) return [];
  return [
    `It was trained on ${trained}, but would be served on ${base.name} (${base.root}). If those are not the same model, its answers are noise.`,
  ];
}

function sameModel(a: string, b: string): boolean {
  const [left, right] = [readPath(a), readPath(b)];
  return left.parts.includes(right.name) || right.parts.includes(left.name);
}

/** In the hub's cache (models--Qwen--Qwen3-8B/snapshots/<commit>) the last part is only a revision. */
function readPath(text: string): { parts: readonly string[]; name: string } {
  const parts = text
    .toLowerCase()
    .split(/[/\\]/)
    .filter((part) => part !== '');
  const cached = parts
    .find((part) => part.startsWith('models--'))
    ?.split('--')
    .at(-1);
  return cached === undefined ? { parts, name: parts.at(-1) ?? '' } : { parts: [cached], name: cached };
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
