// How a service that finds checkpoints by their names is asked for one: a text with fields, such as "tinker://run/sampler_weights/{step:06}".
// Parsed once, when the config is read; what could not tell one step from another is refused there. Pure.
import type { Checkpoint } from './domain.ts';

type Named = Pick<Checkpoint, 'id' | 'name' | 'model' | 'step'>;

const FIELDS = ['step', 'model', 'name', 'id'] as const;
type Field = (typeof FIELDS)[number];

/** A literal, or a field with how many digits it has at least. */
type Piece = string | { readonly field: Field; readonly digits: number };

export interface ModelTemplate {
  /** Undefined: it asks for a step, and the checkpoint has none. */
  fill(checkpoint: Named): string | undefined;
}

/** What a field looks like, well formed or not. */
const BRACES = /\{([^{}]*)\}/g;
const DIGITS_MAX = 20;

/** A sentence for people where it is no template that could be used. */
export function parseTemplate(text: string): ModelTemplate | string {
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(BRACES)) {
    const piece = fieldOf(match[1] ?? '');
    if (piece === undefined)
      return `"${match[0]}" is no field: the fields are {step}, {step:06} (zeros in front, to six digits), {model}, {name} and {id}`;
    pieces.push(text.slice(at, match.index), piece);
    at = match.index + match[0].length;
  }
  pieces.push(text.slice(at));
  if (pieces.some((piece) => typeof piece === 'string' && /[{}]/.test(piece)))
    return `"${text}" has a brace without its partner`;
  const isTold = pieces.some((piece) => typeof piece !== 'string' && piece.field !== 'model');
  if (!isTold)
    return `"${text}" has no field that tells one step from another, so that every step would be the same weights: put {step}, {step:06}, {name} or {id} into it`;
  return { fill: (checkpoint) => filled(pieces, checkpoint) };
}

function fieldOf(inside: string): Piece | undefined {
  const [, name = '', , digits] = /^([a-z]+)(:0(\d+))?$/.exec(inside) ?? [];
  const field = FIELDS.find((known) => known === name);
  if (field === undefined || (digits !== undefined && (field !== 'step' || Number(digits) > DIGITS_MAX)))
    return undefined;
  return { field, digits: Number(digits ?? 0) };
}

function filled(pieces: readonly Piece[], checkpoint: Named): string | undefined {
  let text = '';
  for (const piece of pieces) {
    const value = typeof piece === 'string' ? piece : checkpoint[piece.field];
    if (value === undefined) return undefined;
    text += typeof piece === 'string' ? piece : String(value).padStart(piece.digits, '0');
  }
  return text;
}
