// Whether an adapter's tensors are what its config says: names that engines can read, pairs, shapes, ranks, modules. Pure, over the
// header of the safetensors file. vLLM takes the tensors for the truth and the config only for the scale, so where the two differ it
// loads without a word what PEFT would refuse. Whether they fit a base is base-fit.ts's to say.
import type { Tensor } from './safetensors.ts';

export interface Expected {
  /** The ranks that the config allows: r, and those of rank_pattern. */
  readonly ranks: readonly number[];
  /** `target_modules`: names, or one pattern. */
  readonly modules: string | readonly string[];
}

export interface Judgement {
  /** Sentences for people: no engine serves it, or each would wrongly. */
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
}

/** By module: its name without the wrapper that PEFT puts around the base. */
export type Pairs = ReadonlyMap<string, Pair>;

/** Examples of one fault that are named; the rest is counted. */
const NAMED_MAX = 3;

export interface Pair {
  readonly a?: Tensor;
  readonly b?: Tensor;
  /** Of an embedding: lora_A is [r, vocabulary], lora_B [width, r]. */
  readonly embedding: boolean;
}

export function judgeTensors(
  tensors: ReadonlyMap<string, Tensor>,
  expected: Expected,
): Judgement & { readonly pairs: Pairs } {
  if (tensors.size === 0)
    return { pairs: new Map(), reasons: ['adapter_model.safetensors holds no tensors.'], warnings: [] };
  const unread: string[] = [];
  const pairs = new Map<string, Pair>();
  for (const [name, tensor] of tensors) {
    const read = readName(name);
    if (read === undefined) unread.push(name);
    else if (read !== 'base') {
      const { module, half, embedding } = read;
      pairs.set(module, { ...pairs.get(module), embedding, [half]: tensor });
    }
  }
  const reasons = [
    ...fault(unread, (list) => `No LoRA matrix, and nothing else that an engine reads, is ${list}.`),
    ...fault(
      [...pairs].filter(([, { a, b }]) => (a === undefined) !== (b === undefined)).map(([module]) => module),
      (list) => `Of lora_A and lora_B only one is there for ${list}.`,
    ),
    ...judgeShapes(pairs, expected.ranks),
  ];
  return { pairs, reasons, warnings: reasons.length > 0 ? [] : judgeModules([...pairs.keys()], expected.modules) };
}

const MATRIX = /^(?:base_model\.model\.)?(.+)\.(?:lora_([AB])\.weight|lora_embedding_([AB]))$/;

/** `base`: a weight of the base itself, which engines skip. Undefined: engines refuse the file. */
function readName(name: string): { module: string; half: 'a' | 'b'; embedding: boolean } | 'base' | undefined {
  if (/\.(?:embed_tokens|lm_head)\.base_layer\.weight$/.test(name)) return 'base';
  const match = MATRIX.exec(name);
  if (match === null) return undefined;
  const half = (match[2] ?? match[3]) === 'A' ? 'a' : 'b';
  return { module: match[1] ?? '', half, embedding: match[3] !== undefined };
}

/** lora_A is [r, in], lora_B [out, r]; of embeddings too. Experts are fused, r times their number: not judged. */
function judgeShapes(pairs: Pairs, ranks: readonly number[]): string[] {
  const bent: string[] = [];
  const otherRank: string[] = [];
  for (const [module, { a, b }] of pairs) {
    if (a === undefined || b === undefined || isExpert(module)) continue;
    const [rank, rankOfB] = [a.shape[0], b.shape[1]];
    const flat = a.shape.length !== 2 || b.shape.length !== 2 || rank !== rankOfB;
    if (flat) bent.push(`${module} (lora_A [${a.shape}], lora_B [${b.shape}])`);
    else if (!ranks.includes(rank ?? 0)) otherRank.push(`${module} (${rank})`);
  }
  const said = ranks.length === 1 ? `r is ${ranks[0]}` : `r and rank_pattern say ${[...new Set(ranks)].join(', ')}`;
  return [
    ...fault(bent, (list) => `lora_A must be [r, in] and lora_B [out, r], which they are not for ${list}.`),
    ...fault(
      otherRank,
      (list) =>
        `In adapter_config.json ${said}, but the tensors have another rank: ${list}. vLLM would scale them wrongly, silently.`,
    ),
  ];
}

/** Formats differ in how they name and fuse experts, so they are not judged. */
export const isExpert = (module: string): boolean => /\bexperts\b/.test(module);

/** No model is nested deeper; a name of a million dots must not be compared a million times. */
const PARTS_MAX = 32;

/** A pattern cannot be compared: it may be Python's own kind, or a word such as all-linear. */
function judgeModules(modules: readonly string[], targets: string | readonly string[]): string[] {
  if (typeof targets === 'string') return [];
  const unused = new Set(targets);
  const extra: string[] = [];
  const known = new Set(targets);
  for (const module of modules) {
    const parts = module.split('.');
    let found = false;
    // A target names a module by its whole name or by its last parts.
    for (let from = parts.length - 1; from >= Math.max(0, parts.length - PARTS_MAX); from--) {
      const ending = parts.slice(from).join('.');
      if (!known.has(ending)) continue;
      found = true;
      unused.delete(ending);
    }
    if (!found) extra.push(module);
  }
  return [
    ...fault(
      extra,
      (list) => `Not in target_modules, but there are tensors for it, which vLLM serves and PEFT does not: ${list}.`,
    ),
    ...fault([...unused], (list) => `In target_modules, but without tensors, so it is served as in the base: ${list}.`),
  ];
}

/** One sentence for all that have a fault; none where nothing has. */
export function fault(names: readonly string[], say: (list: string) => string): string[] {
  if (names.length === 0) return [];
  const rest = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
  return [say(`${names.slice(0, NAMED_MAX).join(', ')}${rest}`)];
}
