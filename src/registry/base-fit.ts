// Whether an adapter's modules are in the base, and fit it. Pure. vLLM 0.32 refuses a module only where the base has none whose last part
// is so called, and a matrix only where it is too large; all else that does not fit it loads, and applies in part or not at all, without
// a word. Names may be told in other prefixes by other wrappers (multimodal ones), so a name that is not found is not yet a fault.
import type { BaseModules } from './base-modules.ts';
import { fault, isExpert, type Judgement, type Pair, type Pairs } from './tensors.ts';

/** The base that the adapter would be served on. */
export interface Base {
  /** For people: where its files are. */
  readonly root: string;
  readonly modules: BaseModules;
  /** The adapter's `fan_in_fan_out`: weights may be stored as [in, out], as those of GPT-2 are. */
  readonly isTransposed: boolean;
}

/** A base's modules by what stays the same under another prefix. */
interface Places {
  /** By tail: full names. */
  readonly byTail: ReadonlyMap<string, readonly string[]>;
  /** The tails with their numbers left out. */
  readonly kinds: ReadonlySet<string>;
  readonly lastParts: ReadonlySet<string>;
  /** What stands before the tails of numbered modules. */
  readonly prefixes: ReadonlySet<string>;
}

export function judgeFit(pairs: Pairs, { root, modules, isTransposed }: Base): Judgement {
  const places = placesOf(modules);
  /** Which the base certainly does not have: a layer too many. */
  const beyond: string[] = [];
  const strange: string[] = [];
  const moved: string[] = [];
  const bent: string[] = [];
  let inPlace = 0;
  for (const [module, pair] of pairs) {
    if (isExpert(module)) continue;
    const found = modules.has(module) ? [module] : (places.byTail.get(tailOf(module)) ?? tied(module, places));
    if (found === undefined) (places.kinds.has(kindOf(module)) ? beyond : strange).push(module);
    else {
      const shapes = found.map((place) => modules.get(place));
      if (found.length > 0 && !shapes.some((shape) => fits(pair, shape, isTransposed)))
        bent.push(sayShapes(module, pair, shapes));
      if (modules.has(module)) inPlace++;
      else if (isNumbered(module)) moved.push(module);
    }
  }
  const isOfThisBase = inPlace + moved.length + beyond.length > 0;
  const isUnknown = (module: string) => isOfThisBase && !places.lastParts.has(lastPartOf(module));
  const absent = [...beyond, ...strange.filter(isUnknown)];
  // Where the base has several prefixes, engines translate them; where it has none, they know it by one.
  const isElsewhere = inPlace === 0 && places.prefixes.size === 1 && !places.prefixes.has('');
  const renamed = [...strange.filter((module) => !isUnknown(module)), ...(isElsewhere ? moved : [])];
  return {
    reasons: [
      ...fault(absent, (list) => `The base in ${root} has no ${list}. It was trained on another model.`),
      ...fault(bent, (list) => `Its shapes do not fit the base in ${root}: ${list}. It was trained on another model.`),
    ],
    warnings: fault(
      renamed,
      (list) =>
        `The base in ${root} has nothing of the name ${list}. Unless the engine translates it, the base itself answers there, without a word.`,
    ),
  };
}

/** A numbered block and what is below it: `layers.0.self_attn.q_proj`. */
const NUMBERED = /(?:^|\.)([^.]+\.\d+(?:\..+)?)$/;
const isNumbered = (module: string): boolean => NUMBERED.test(module);
const lastPartOf = (module: string): string => module.slice(module.lastIndexOf('.') + 1);
const tailOf = (module: string): string => NUMBERED.exec(module)?.[1] ?? lastPartOf(module);
const kindOf = (module: string): string => tailOf(module).replaceAll(/\.\d+(?=\.|$)/g, '.*');

function placesOf(modules: BaseModules): Places {
  const byTail = new Map<string, string[]>();
  const prefixes = new Set<string>();
  for (const module of modules.keys()) {
    const tail = tailOf(module);
    const same = byTail.get(tail);
    if (same) same.push(module);
    else byTail.set(tail, [module]);
    if (isNumbered(module)) prefixes.add(module.slice(0, -tail.length));
  }
  const tails = [...byTail.keys()];
  return { byTail, kinds: new Set(tails.map(kindOf)), lastParts: new Set(tails.map(lastPartOf)), prefixes };
}

/** The head may be the embedding itself, and has then no weight of its own. */
const tied = (module: string, { byTail }: Places): readonly string[] | undefined =>
  lastPartOf(module) === 'lm_head' ? (byTail.get('embed_tokens') ?? []) : undefined;

/** What is of unknown shape, or no matrix, is not judged. */
function fits({ a, b, embedding }: Pair, shape: readonly number[] | undefined, isTransposed: boolean): boolean {
  if (shape?.length !== 2 || a === undefined || b === undefined) return true;
  const [into, out] = [a.shape[1], b.shape[0]];
  const isStraight = shape[0] === out && shape[1] === into;
  const isTurned = shape[0] === into && shape[1] === out;
  return embedding ? isTurned : isStraight || (isTransposed && isTurned);
}

const sayShapes = (module: string, { a, b }: Pair, shapes: readonly (readonly number[] | undefined)[]): string =>
  `${module} (lora_A [${a?.shape}], lora_B [${b?.shape}], the base's weight [${shapes.join('] or [')}])`;
