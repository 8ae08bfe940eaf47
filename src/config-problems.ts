// What is wrong with a config file, said to the person who wrote it: file:line:column, the key, and what to write instead.
// Knows YAML positions and the JSON schema; the rules themselves are in config.ts.
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  stringify,
  visit,
} from 'yaml';

/** The part of a JSON schema that a message needs. */
export interface Shape {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly Shape[];
  readonly items?: Shape;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Shape;
}

/** Of a value that a message quotes. */
const CHARACTERS_MAX = 60;

/** One objection of the schema: a zod issue, as far as a message needs it. */
export interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly issues?: readonly { readonly message: string }[];
}

/** A config that cannot be used. The message is whole sentences for its writer, one line a problem, and needs no stack. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

interface Source {
  readonly file: string | undefined;
  readonly shape: Shape;
}

/**
 * @returns the file's value, and the way to say what a schema objects to in it
 * @throws ConfigError when the text is no YAML
 */
export function readYaml(
  text: string,
  source: Source,
): { value: unknown; problems(issues: readonly Issue[]): string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const line = (offset: number, about: string) => {
    const { line, col } = lines.linePos(offset);
    return { offset, text: `${source.file ?? 'config'}:${Math.max(line, 1)}:${Math.max(col, 1)}: ${onOneLine(about)}` };
  };
  if (document.errors.length > 0)
    throw new ConfigError(document.errors.map((error) => line(error.pos[0], sayYaml(error, text)).text));

  // No object can have this key as others: the schema would not see it, and not a word be said.
  visit(document, {
    Pair: (_, { key }) => {
      if (isScalar(key) && key.value === '__proto__')
        throw new ConfigError([line(key.range?.[0] ?? 0, '__proto__: this cannot be a key; choose another name').text]);
    },
  });
  const value = toValue(document, (offset, about) => new ConfigError([line(offset, about).text]), text);
  // A number may be too large in two ways, and is told once.
  const problems = (issues: readonly Issue[]) => {
    const all = issues
      .flatMap((issue) => explain(issue, { value, shape: source.shape }))
      .map(({ path, about }) => line(offsetOf(document, path), `${path.length === 0 ? '' : `${show(path)}: `}${about}`))
      .sort((a, b) => a.offset - b.offset);
    return [...new Set(all.map(({ text }) => text))];
  };
  return { value, problems };
}

function toValue(document: Document, refuse: (offset: number, about: string) => ConfigError, text: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor, or so many of them that the text would grow without bound.
    const message = error instanceof Error ? error.message : String(error);
    const offset = Math.max(0, text.indexOf(`*${/: (.+)$/.exec(message)?.[1] ?? ''}`));
    throw refuse(offset, `${message}; write the value out, or put what begins with "*" in quotes`);
  }
}

function sayYaml(error: { code: string; message: string; pos: [number, number] }, text: string): string {
  switch (error.code) {
    case 'DUPLICATE_KEY': {
      const key = /^[^:\n]*/.exec(text.slice(error.pos[0]))?.[0] ?? '';
      return `the key "${key.trim()}" is written twice; keep one`;
    }
    case 'TAB_AS_INDENT':
      return 'a tab where YAML wants spaces; indent with two spaces a level';
    case 'MULTIPLE_DOCS':
      return 'a second document ("---"); keep one in the file';
    default: {
      const fix = 'check the indentation, and put values that hold ": ", "#", "[" or "{" in quotes';
      return `not YAML: ${error.message}; ${fix}`;
    }
  }
}

/** A zod issue may be about several keys: one problem for each. */
function explain(issue: Issue, at: { value: unknown; shape: Shape }): { path: PropertyKey[]; about: string }[] {
  const path = [...issue.path];
  if (issue.code === 'unrecognized_keys')
    return (issue.keys ?? []).map((key) => ({
      path: [...path, key],
      about: unknownKey(key, shapeAt(at.shape, path), at.shape),
    }));
  if (issue.code === 'custom' || issue.code === 'invalid_format') return [{ path, about: issue.message }];
  if (issue.code === 'invalid_key') return [{ path, about: issue.issues?.[0]?.message ?? issue.message }];

  const shape = shapeAt(at.shape, path);
  const found = valueAt(at.value, path);
  const fix = example(path, shape);
  if (found === undefined) return [{ path, about: `missing; ${fix}` }];
  if (found === null && shape?.type === 'object')
    return [{ path, about: `nothing is written under it; write "{}" for the defaults; ${fix}` }];
  if (found === null) return [{ path, about: `nothing is written after it; ${fix}, or take the line out` }];
  return [{ path, about: `expected ${expectation(shape)}, got ${sayValue(found)}; ${fix}` }];
}

function unknownKey(key: string, shape: Shape | undefined, root: Shape): string {
  const known = Object.keys(shape?.properties ?? {});
  const near = nearest(key, known);
  if (near !== undefined) return `unknown key; did you mean "${near}"?`;
  const home = Object.entries(root.properties ?? {}).find(([, section]) =>
    Object.hasOwn(section.properties ?? {}, key),
  );
  if (home !== undefined) return `unknown key here; it belongs under "${home[0]}:"`;
  return `unknown key; take it out, or use one of ${known.join(', ')}`;
}

function expectation(shape: Shape | undefined): string {
  if (shape?.enum !== undefined) return `one of ${shape.enum.join(', ')}`;
  if (shape?.anyOf !== undefined) return shape.anyOf.map(expectation).join(' or ');
  switch (shape?.type) {
    case 'integer':
      return `a whole number${shape.minimum !== undefined && shape.minimum > -1e9 ? ` from ${shape.minimum} to ${shape.maximum}` : ''}`;
    case 'array':
      return 'a list (each entry on its own line, after "- ")';
    case 'object':
      return 'a mapping (its keys on the lines below, indented)';
    default:
      return 'text';
  }
}

function example(path: readonly PropertyKey[], shape: Shape | undefined): string {
  const key = String(path.at(-1) ?? '');
  const keys = Object.keys(shape?.properties ?? {});
  const value = shape?.examples?.[0] ?? shape?.default;
  if (keys.length > 0) return `its keys are ${keys.join(', ')}`;
  if (typeof path.at(-1) === 'number' || value === undefined) return 'see docs/config.md';
  const written = stringify({ [key]: value }, { collectionStyle: 'flow', lineWidth: 0 })
    .trim()
    .replace(/^\{ ?| ?\}$/g, '');
  return `write for example "${written}"`;
}

/** Of a file that is no config, all of it may be one text. */
const cut = (text: string): string => (text.length > CHARACTERS_MAX ? `${text.slice(0, CHARACTERS_MAX)}...` : text);

function sayValue(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string' ? `the text ${JSON.stringify(cut(value))}` : String(value);
}

function shapeAt(root: Shape, path: readonly PropertyKey[]): Shape | undefined {
  let shape: Shape | undefined = root;
  for (const key of path) {
    const others: Shape | undefined =
      typeof shape?.additionalProperties === 'object' ? shape.additionalProperties : undefined;
    shape = typeof key === 'number' ? shape?.items : (own(shape?.properties, key) ?? others);
  }
  return shape;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path)
    value = typeof value === 'object' && value !== null ? own(value as Record<PropertyKey, unknown>, key) : undefined;
  return value;
}

/** `constructor` and its like are keys that somebody may write, and no object has. */
const own = <T>(object: Readonly<Record<PropertyKey, T>> | undefined, key: PropertyKey): T | undefined =>
  object !== undefined && Object.hasOwn(object, key) ? object[key] : undefined;

/** Where the key of `path` is written; for a missing one, where the mapping that lacks it begins. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document) ?? null;
    if (isSeq(node)) {
      node = (node.items[Number(key)] as Node | undefined) ?? null;
      offset = node?.range?.[0] ?? offset;
    } else if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (pair === undefined) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = (pair.value as Node | null) ?? null;
    }
  }
  return offset;
}

function show(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${sayKey(String(key))}`))
    .join('');
}

/** As it is written, where that is one word. */
const sayKey = (key: string): string => (/^[^\s"]+$/.test(key) ? key : JSON.stringify(key));

/** A problem is one line, and a terminal may show it. */
const onOneLine = (text: string): string =>
  text.replace(/\p{Cc}/gu, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** The known word that differs by a typing mistake (in a third of its letters at most), if there is one. */
function nearest(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[_-]/g, '');
  const [best] = known
    .map((candidate) => ({ candidate, distance: distance(plain(word), plain(candidate)) }))
    .filter((entry) => entry.distance <= Math.max(1, Math.floor(entry.candidate.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

/** Levenshtein. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
