// Templates, generation parameters and the requests of deployments: what people and applications write, before an engine sees any of it.
import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { engineParameters, GENERATION_KEYS } from '../../src/deployments/generation.ts';
import { fill, parseTemplate } from '../../src/deployments/template.ts';
import { translate, withDefaults } from '../../src/deployments/translation.ts';
import { StepgateError } from '../../src/errors.ts';
import { scanBody, spliceModel } from '../../src/openai/body.ts';
import type { Build } from '../../src/registry/store.ts';
import { damagedText } from './damage.ts';
import { same, type Target } from './target.ts';

const template = fc
  .array(fc.constantFrom('{prompt}', '{input}', '{{', '}}', 'Q: ', '\n', 'é', '$&'), { maxLength: 6 })
  .map((pieces) => pieces.join(''));
const value = fc.oneof(fc.constantFrom('Hi', '{prompt}', '}}', '$1'), fc.string({ maxLength: 5 }));

/** str.format once more, letter by letter; undefined: it is refused. */
function formatted(text: string, values: ReadonlyMap<string, string>): string | undefined {
  let out = '';
  let inputs = 0;
  for (let at = 0; at < text.length; at++) {
    const [letter, next] = [text[at], text[at + 1]];
    if (letter !== '{' && letter !== '}') out += letter;
    else if (letter === next) {
      out += letter;
      at++;
    } else {
      const end = letter === '{' ? text.indexOf('}', at) : -1;
      const found = end === -1 ? undefined : values.get(text.slice(at + 1, end));
      if (found === undefined) return undefined;
      out += found;
      inputs++;
      at = end;
    }
  }
  return inputs === 0 ? undefined : out;
}

/** `undefined` for what is refused as the caller's fault; any other error is a bug. */
function unlessRefused<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof StepgateError && error.code === 'invalid_request') return undefined;
    throw error;
  }
}

export const templates: Target = {
  name: 'templates',
  promise: 'a template is filled as str.format fills it, and refused where that would refuse it or it has no input',
  slice: 4_000,
  property: () =>
    fc.property(fc.oneof(template, damagedText(template, '{}p_ ')), value, value, (text, prompt, input) => {
      const values = new Map(Object.entries({ prompt, input }));
      same(
        unlessRefused(() => fill(parseTemplate(text), values)),
        formatted(text, values),
      );
    }),
};

const parameter = fc.oneof(
  fc.constantFrom(null, true, false, 0, 1, 0.5, -1, 60, 'END', '', [], ['a'], [7], {}, 'hot'),
  fc.jsonValue({ maxDepth: 1 }),
);
const generation = fc.dictionary(fc.constantFrom(...GENERATION_KEYS), parameter, { maxKeys: 4 });
const request = fc.dictionary(
  fc.oneof(fc.constantFrom('prompt', 'max_tokens', '__proto__', ...GENERATION_KEYS), fc.string({ maxLength: 4 })),
  fc.oneof(value, parameter),
  { maxKeys: 5 },
);
const asked = fc.dictionary(
  fc.constantFrom('prompt', 'max_tokens', 'max_completion_tokens', 'temperature', 'stop', 'x', '"', '\\u0061'),
  fc.jsonValue({ maxDepth: 2 }),
  { maxKeys: 5 },
);

export const requests: Target = {
  name: 'requests',
  promise:
    'a prediction is translated with its prompt whole, or refused; an OpenAI request keeps all that it says, and gets the defaults for the rest',
  slice: 4_000,
  property: () =>
    fc.property(generation, request, asked, fc.boolean(), (defaults, said, openai, chat) => {
      const build = buildOf(defaults, chat);
      const empty = { ...build, generation: {} };
      // Defaults are checked when they are set: what a request may say of them is what a deployment may.
      const checked = unlessRefused(() => translate(empty, { prompt: 'x', ...defaults })) !== undefined;
      const translated = unlessRefused(() => translate(checked ? build : empty, said));
      if (translated !== undefined) {
        same(translated.prompt, String(said.prompt));
        ok(Object.values(translated.members).every((member) => member !== null && member !== undefined));
      }
      if (!checked) return;
      const body = Buffer.from(JSON.stringify(openai));
      const fields = scanBody(body);
      ok(fields.kind === 'ok');
      const whole = Buffer.concat([...withDefaults(build, spliceModel(body, fields.model, 'm').pieces, body)]);
      const { max_tokens, ...others } = engineParameters(defaults);
      const length = max_tokens === undefined || 'max_completion_tokens' in openai ? {} : { max_tokens };
      // As JSON says it: -0 is 0.
      const wanted = JSON.stringify({ ...others, ...length, ...openai, model: 'm' });
      same(JSON.parse(whole.toString()), JSON.parse(wanted));
      // No parser has to choose between two members of one name.
      same(whole.toString(), JSON.stringify(JSON.parse(whole.toString())));
    }),
};

const buildOf = (defaults: Record<string, unknown>, chat: boolean): Build => ({
  deployment: 'd',
  build: 1,
  target: 'm',
  generation: defaults,
  template: undefined,
  chat,
  createdAtMs: 0,
  by: 'a test',
  copyOf: undefined,
});
