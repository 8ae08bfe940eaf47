// Generation parameters by the names of Hugging Face's GenerationConfig, as people keep them beside an adapter, and what they are to an
// engine: vLLM's sampling parameters. Pure. What it does not know it refuses: a parameter that is left out silently changes answers.
import { StepgateError } from '../errors.ts';
import { nearNames, quote } from '../registry/words.ts';

/** By HF's names; null: not given. */
export type Generation = Readonly<Record<string, unknown>>;

/** By the engine's names, as members of a request's body. */
export type EngineParameters = Readonly<Record<string, unknown>>;

interface Parameter {
  /** The engine's name; undefined: nothing is said to the engine. */
  readonly to?: string;
  readonly takes: (value: unknown) => boolean;
  /** What it must be, for people. */
  readonly must: string;
  /** Left out: it stays as it is. */
  readonly as?: (value: never) => unknown;
}

const isNumber = (from: number, to = Number.POSITIVE_INFINITY) => {
  return (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value >= from && value <= to;
};
const isWhole = (from: number) => (value: unknown) => Number.isSafeInteger(value) && (value as number) >= from;
const isText = (value: unknown) => typeof value === 'string' && value !== '';
const oneOrMore = (is: (value: unknown) => boolean) => (value: unknown) =>
  is(value) || (Array.isArray(value) && value.length > 0 && value.every(is));
const listed = (value: unknown) => (Array.isArray(value) ? value : [value]);

const penalty = (to: string): Parameter => ({ to, takes: isNumber(-2, 2), must: 'a number from -2 to 2' });
const stop: Parameter = { to: 'stop', takes: oneOrMore(isText), must: 'a text, or a list of texts', as: listed };
/** What engines do not do: HF's neutral value says just that. */
const only = (neutral: unknown, why: string): Parameter => ({
  takes: (value) => value === neutral,
  must: `${JSON.stringify(neutral)}, or left out: ${why}`,
});
const beams = 'engines sample one answer, and search no beams';

const PARAMETERS: Readonly<Record<string, Parameter>> = {
  max_new_tokens: { to: 'max_tokens', takes: isWhole(1), must: 'a whole number from 1' },
  min_new_tokens: { to: 'min_tokens', takes: isWhole(0), must: 'a whole number from 0' },
  do_sample: { takes: (value) => typeof value === 'boolean', must: 'true or false' },
  temperature: { to: 'temperature', takes: isNumber(0), must: 'a number from 0' },
  top_p: { to: 'top_p', takes: (value) => isNumber(0, 1)(value) && value !== 0, must: 'a number above 0, up to 1' },
  // HF's 0 means all tokens; to vLLM -1 always does, 0 only in later versions.
  top_k: {
    to: 'top_k',
    takes: isWhole(-1),
    must: 'a whole number from 0, which means all tokens',
    as: (value: number) => value || -1,
  },
  min_p: { to: 'min_p', takes: isNumber(0, 1), must: 'a number from 0 to 1' },
  repetition_penalty: {
    to: 'repetition_penalty',
    takes: (value) => isNumber(0)(value) && value !== 0,
    must: 'a number above 0',
  },
  presence_penalty: penalty('presence_penalty'),
  frequency_penalty: penalty('frequency_penalty'),
  stop,
  stop_strings: stop,
  eos_token_id: {
    to: 'stop_token_ids',
    takes: oneOrMore(isWhole(0)),
    must: 'a token id, or a list of them',
    as: listed,
  },
  // The engine's own tokenizer knows them.
  pad_token_id: { takes: oneOrMore(isWhole(0)), must: 'a token id' },
  bos_token_id: { takes: isWhole(0), must: 'a token id' },
  seed: { to: 'seed', takes: Number.isSafeInteger, must: 'a whole number' },
  num_beams: only(1, beams),
  num_beam_groups: only(1, beams),
  num_return_sequences: only(1, beams),
  early_stopping: only(false, beams),
  length_penalty: only(1, beams),
  diversity_penalty: only(0, beams),
  typical_p: only(1, 'engines have no typical sampling; top_p and min_p are there'),
  no_repeat_ngram_size: only(0, 'engines have none; repetition_penalty is there'),
  max_length: only(null, 'it counts the prompt too; write max_new_tokens'),
};

/** What a request may say of its generation. */
export const GENERATION_KEYS: readonly string[] = Object.keys(PARAMETERS);

export const isGenerationKey = (key: string): boolean => Object.hasOwn(PARAMETERS, key);

/** @throws StepgateError invalid_request: an unknown key, a value of the wrong kind; `param` is `<at>.<key>` */
export function checkGeneration(generation: Generation, at: string): void {
  const refuse = (key: string, message: string) => {
    throw new StepgateError('invalid_request', message, { param: `${at}.${key}` });
  };
  for (const [key, value] of Object.entries(generation)) {
    const parameter = Object.hasOwn(PARAMETERS, key) ? PARAMETERS[key] : undefined;
    if (parameter === undefined) return refuse(key, `\`${at}\` has an unknown key ${quote(key)}. ${known(key)}`);
    if (value !== null && !parameter.takes(value))
      refuse(key, `\`${at}.${key}\` must be ${parameter.must}; it is ${quote(JSON.stringify(value) ?? '')}`);
  }
  if (given(generation, 'stop') && given(generation, 'stop_strings'))
    refuse('stop', `\`${at}\` has both stop and stop_strings, which are the same: leave one out`);
  if (generation.do_sample === true && generation.temperature === 0)
    refuse('temperature', `\`${at}\` has do_sample true and temperature 0, which is greedy: leave one out`);
}

/** The nearest keys first, then all: HF's list is long, and this one is short. */
export function known(key: string, keys: readonly string[] = GENERATION_KEYS): string {
  const near = nearNames(key, keys);
  // Where none is near it names the first ones.
  const isNear = near.some((name, place) => name !== keys[place]) || near.length === keys.length;
  const first = isNear ? `Nearest: ${near.join(', ')}. ` : '';
  return `${first}Known: ${keys.join(', ')}`;
}

/** Sentences for people: what was checked, and will not do what it looks like. */
export function warningsOf(generation: Generation): readonly string[] {
  const { do_sample, temperature } = generation;
  if (do_sample !== false || typeof temperature !== 'number' || temperature === 0) return [];
  return [`do_sample is false, so temperature ${temperature} has no effect: answers are greedy`];
}

/**
 * What both come to for an engine; of one parameter `call` wins. `do_sample: false` is temperature 0, but a call that names a temperature
 * samples; `do_sample: true` without any temperature to sample at is 1, as in HF. Both must have been checked.
 */
export function engineParameters(defaults: Generation, call: Generation = {}): EngineParameters {
  const parameters = { ...translated(defaults), ...translated(call) };
  const samples = call.do_sample ?? (given(call, 'temperature') ? undefined : defaults.do_sample);
  if (samples === false) parameters.temperature = 0;
  if (samples === true) parameters.temperature ||= 1;
  return parameters;
}

function translated(generation: Generation): Record<string, unknown> {
  const parameters: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(generation)) {
    const { to, as = (same: unknown) => same } = PARAMETERS[key] ?? {};
    if (to !== undefined && value !== null) parameters[to] = as(value as never);
  }
  return parameters;
}

const given = (generation: Generation, key: string): boolean => (generation[key] ?? null) !== null;
