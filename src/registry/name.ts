// What a model's name means before anything is looked up: the one grammar of `model@step`, `model@latest`, `model@best`, `model@alias`
// and `model@<=step`.
// Pure and total: no string makes `parseName` throw, and printing what it says and parsing that again changes nothing.
// It must not know which models exist (catalog.ts does).

export type ParsedName =
  /** No valid suffix: the whole text is a model's, a base's or an exactly registered name. */
  | { readonly kind: 'bare'; readonly model: string }
  | { readonly kind: 'step'; readonly model: string; readonly step: number }
  | { readonly kind: 'latest'; readonly model: string }
  | { readonly kind: 'best'; readonly model: string }
  /** The nearest servable step on that side of one. */
  | { readonly kind: 'nearest'; readonly model: string; readonly side: Side; readonly step: number }
  | { readonly kind: 'alias'; readonly model: string; readonly alias: string };

export type Side = '<' | '<=' | '>' | '>=';

/** Splits on the last `@`. A suffix that is none of the grammar's belongs to the bare name. */
export function parseName(text: string): ParsedName {
  const at = text.lastIndexOf('@');
  if (at <= 0) return { kind: 'bare', model: text };
  const model = text.slice(0, at);
  const suffix = text.slice(at + 1);
  const [, side = '', digits] = /^([<>]=?)?([0-9]+)$/.exec(suffix) ?? [];
  if (digits !== undefined) {
    const step = Number(digits);
    if (!Number.isSafeInteger(step)) return { kind: 'bare', model: text };
    return side === '' ? { kind: 'step', model, step } : { kind: 'nearest', model, side: side as Side, step };
  }
  if (suffix === 'latest' || suffix === 'best') return { kind: suffix, model };
  return isAlias(suffix) ? { kind: 'alias', model, alias: suffix } : { kind: 'bare', model: text };
}

/** `run-v5`: how some trainers count under vLLM's one-word names. Only a guess: an exact name of that kind wins. */
export function parseVersion(text: string): { readonly model: string; readonly step: number } | undefined {
  const [, model, digits] = /^(.+)-v([0-9]+)$/s.exec(text) ?? [];
  const step = Number(digits);
  return model !== undefined && Number.isSafeInteger(step) ? { model, step } : undefined;
}

/** The canonical text: `my-model@0005` parses and prints as `my-model@5`. */
export function printName(name: ParsedName): string {
  switch (name.kind) {
    case 'bare':
      return name.model;
    case 'step':
      return `${name.model}@${name.step}`;
    case 'latest':
    case 'best':
      return `${name.model}@${name.kind}`;
    case 'nearest':
      return `${name.model}@${name.side}${name.step}`;
    case 'alias':
      return `${name.model}@${name.alias}`;
  }
}

/** What `@name` may say besides a step. `v5` is no alias: it reads as a version, and people would take it for a step. */
export function isAlias(text: string): boolean {
  return text !== 'latest' && text !== 'best' && /^[A-Za-z][A-Za-z0-9_-]*$/.test(text) && !/^v[0-9]+$/.test(text);
}

const CHARACTERS_MAX = 200;
/** vLLM applies adapters of these names to multimodal requests by itself. */
const RESERVED: ReadonlySet<string> = new Set(['text', 'image', 'audio', 'video']);

/** Why `text` cannot be the name of a model, as a sentence; undefined when it can. */
export function checkModelName(text: string): string | undefined {
  const problem = checkText(text);
  if (problem !== undefined) return problem;
  const parsed = parseName(text);
  if (parsed.kind === 'bare') return undefined;
  return `A model's name cannot end in "@${text.slice(parsed.model.length + 1)}": it would be read as one checkpoint of "${parsed.model}". Leave the suffix out.`;
}

/** Why `text` cannot be the name of a checkpoint (`my-model@5`, or an exact name), as a sentence; undefined when it can. */
export function checkCheckpointName(text: string): string | undefined {
  const problem = checkText(text);
  if (problem !== undefined) return problem;
  const parsed = parseName(text);
  switch (parsed.kind) {
    case 'latest':
    case 'best':
    case 'nearest':
      return `"${text.slice(parsed.model.length)}" is reserved: it is worked out at each request. Name the step, such as "${parsed.model}@5".`;
    case 'step':
      return checkModelName(parsed.model);
    case 'alias':
    case 'bare':
      return undefined;
  }
}

/** Why `text` cannot be set as an alias, as a sentence; undefined when it can. */
export function checkAlias(text: string): string | undefined {
  if (text.length > CHARACTERS_MAX)
    return `The alias has ${text.length} characters; at most ${CHARACTERS_MAX} are allowed.`;
  if (isAlias(text)) return undefined;
  if (text === 'latest' || text === 'best')
    return `"${text}" moves by itself (\`models.NAME.${text}\` in the config says how). Choose another alias, such as "champion".`;
  if (/^v[0-9]+$/.test(text)) return `"${text}" reads as a version. Choose an alias such as "champion".`;
  return `${JSON.stringify(text)} is no alias: a letter first, then letters, digits, "_" and "-".`;
}

function checkText(text: string): string | undefined {
  if (text.length === 0) return 'The name is empty.';
  if (text.length > CHARACTERS_MAX)
    return `The name has ${text.length} characters; at most ${CHARACTERS_MAX} are allowed.`;
  if (text.endsWith('@'))
    return `The name ends in "@", with no step behind it (is a variable empty?): write for example "my-model@5".`;
  if (text.includes(','))
    return 'The name holds a comma, which engines use to join names in their metrics. Leave it out.';
  if (text.trim() !== text) return 'The name begins or ends with white space. Leave it out.';
  if (hasControlCharacter(text)) return 'The name holds a control character. Leave it out.';
  if (!text.isWellFormed()) return 'The name is not well-formed Unicode.';
  if (RESERVED.has(text)) return `Engines give the name "${text}" a meaning of their own. Choose another.`;
  return undefined;
}

function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}
