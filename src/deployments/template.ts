// Prompt templates: text with inputs in braces, as Python's str.format takes it (`{prompt}`, `{input}`; `{{` and `}}` for braces). Pure.
// Checked when a deployment is made; an input's own text is never read as a template.
import { StepgateError } from '../errors.ts';
import { quote } from '../registry/words.ts';

export interface Template {
  /** One more than `inputs`: what stands before, between and after them. */
  readonly texts: readonly string[];
  /** Names, in the order in which they stand there. */
  readonly inputs: readonly string[];
}

/** Without a template the prompt goes as it is. */
export const PLAIN: Template = { texts: ['', ''], inputs: ['prompt'] };

const PIECE = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g;
const INPUT = /^[A-Za-z_]\w*$/;

/** @throws StepgateError invalid_request, param `template`: braces that are no input, or no input at all */
export function parseTemplate(text: string): Template {
  const texts = [''];
  const inputs: string[] = [];
  const say = (more: string) => {
    texts[texts.length - 1] += more;
  };
  let end = 0;
  for (const match of text.matchAll(PIECE)) {
    say(text.slice(end, match.index));
    end = match.index + match[0].length;
    const [piece, name] = match;
    if (piece === '{{' || piece === '}}') say(piece.slice(1));
    else if (name !== undefined && INPUT.test(name)) {
      inputs.push(name);
      texts.push('');
    } else refuse(`has ${quote(piece)} at character ${match.index + 1}: write {prompt}, or {{ and }} for braces`);
  }
  say(text.slice(end));
  if (inputs.length === 0) refuse('has no input, so every answer would be the same: put {prompt} into it');
  return { texts, inputs };
}

/** @throws StepgateError invalid_request that names an input which is missing, param `request.<input>`; body_too_large */
export function fill(
  { texts, inputs }: Template,
  values: ReadonlyMap<string, string>,
  charactersMax = Number.POSITIVE_INFINITY,
): string {
  // An input may stand in it many times: what is made of a small body is as large as it likes.
  const length = [...texts, ...inputs.map((input) => values.get(input) ?? '')].reduce(
    (all, { length }) => all + length,
    0,
  );
  if (length > charactersMax) {
    const message = `the prompt that the template makes of this has ${length} characters, over \`limits.bodyBytesMax\` (${charactersMax})`;
    throw new StepgateError('body_too_large', message);
  }
  const pieces = inputs.map((input, index) => {
    const value = values.get(input);
    if (value !== undefined) return value + texts[index + 1];
    const message = `\`request\` has no "${input}", which the deployment's template needs`;
    throw new StepgateError('invalid_request', message, { param: `request.${input}` });
  });
  return texts[0] + pieces.join('');
}

function refuse(why: string): never {
  throw new StepgateError('invalid_request', `\`template\` ${why}`, { param: 'template' });
}
