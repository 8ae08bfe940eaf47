// What a build makes of a request: a prediction becomes a completion or a chat of the engine's, and a request of OpenAI's clients gets the
// defaults that it is silent about. Pure.
import { StepgateError } from '../errors.ts';
import { appendMember } from '../openai/body.ts';
import type { Build } from '../registry/store.ts';
import { quote } from '../registry/words.ts';
import { checkGeneration, engineParameters, GENERATION_KEYS, isGenerationKey, known } from './generation.ts';
import { fill, PLAIN, parseTemplate, type Template } from './template.ts';

export interface Translated {
  /** What the model reads, or what the user says in the chat. */
  readonly prompt: string;
  /** The members of the engine's request, but for its model. */
  readonly members: Readonly<Record<string, unknown>>;
}

/**
 * @param request `{"prompt": "...", "temperature": 0.2}`: the template's inputs, and generation parameters that win over the build's
 * @param charactersMax of the prompt
 * @throws StepgateError body_too_large; invalid_request: an input that is missing, or what is neither an input nor a parameter; `param` names it
 */
export function translate(
  build: Build,
  request: Readonly<Record<string, unknown>>,
  charactersMax?: number,
): Translated {
  const template = templateOf(build);
  const inputs = new Map<string, string>();
  const generation: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request)) {
    if (template.inputs.includes(key)) inputs.set(key, asText(key, value));
    else if (isGenerationKey(key)) generation[key] = value;
    else throw unknownKey(key, template.inputs);
  }
  checkGeneration(generation, 'request');
  const prompt = fill(template, inputs, charactersMax);
  const parameters = engineParameters(build.generation, generation);
  const members = build.chat
    ? { messages: [{ role: 'user', content: prompt }], ...parameters }
    : { prompt, ...parameters };
  return { prompt, members };
}

/** The pieces of an OpenAI request, `body` as it came, with the build's defaults for what it does not say. */
export function withDefaults(build: Build, pieces: readonly Buffer[], body: Buffer): readonly Buffer[] {
  const defaults = Object.entries(engineParameters(build.generation));
  if (defaults.length === 0) return pieces;
  const said = JSON.parse(body.toString('utf8')) as object;
  const isSaid = (name: string) =>
    Object.hasOwn(said, name) || (name === 'max_tokens' && Object.hasOwn(said, 'max_completion_tokens'));
  return defaults
    .filter(([name]) => !isSaid(name))
    .reduce((all, [name, value]) => appendMember(all, name, value), pieces);
}

const templateOf = ({ template }: Build): Template => (template === undefined ? PLAIN : parseTemplate(template));

/** What a prediction must say. */
export const inputsOf = (build: Build): readonly string[] => [...new Set(templateOf(build).inputs)];

function asText(key: string, value: unknown): string {
  if (typeof value === 'string') return value;
  // Of more digits some were lost already as the body was read: an id of 19 would be another's.
  if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    const message = `\`request.${key}\` has too many digits for a number: write it as a text, in quotes`;
    throw new StepgateError('invalid_request', message, { param: `request.${key}` });
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  // Its value may be a part of a prompt, and this goes into the log.
  const kind = value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object';
  const message = `\`request.${key}\` must be a text; it is ${kind}`;
  throw new StepgateError('invalid_request', message, { param: `request.${key}` });
}

function unknownKey(key: string, inputs: readonly string[]): StepgateError {
  const message = `\`request\` has an unknown key ${quote(key)}. ${known(key, [...inputs, ...GENERATION_KEYS])}`;
  return new StepgateError('invalid_request', message, { param: `request.${key}` });
}
