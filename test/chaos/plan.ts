// What happens in a chaos run, turn by turn: requests, and deeds at their places among them. It follows from the seed alone, so that a seed replays
// every decision; how long anything takes is not part of it. Turns are storms and quiet stretches in alternation. Pure.
import type { Flaw } from '../../src/sim/trainer.ts';
import { type Random, seeded } from '../random.ts';
import { KEY_NAMES, Line, MODELS } from './cast.ts';
import type { Operating } from './operator.ts';
import { type Request, requestOf } from './requests.ts';
import { type Trouble, troubles } from './troubles.ts';

export interface PlanOptions {
  readonly seed: number;
  /** How many there are. */
  readonly engines: number;
  /** Requests of a storm; a quiet stretch has half as many. */
  readonly requestsEach?: number;
}

export interface Turn {
  readonly number: number;
  /** `quiet`: nothing is broken, and everything that can be answered must be. */
  readonly weather: 'storm' | 'quiet';
  readonly requests: readonly Request[];
  /** In order; `at`: when so many of the turn's requests have been begun. */
  readonly deeds: readonly { readonly at: number; readonly deed: Deed }[];
}

export type Deed = Publishing | Operating | Trouble;

/** What people and trainers do in any weather. `seed`: of the weights. */
export type Publishing =
  | {
      readonly kind: 'write';
      readonly model: string;
      readonly step: number;
      readonly seed: number;
      readonly flaw?: Flaw;
    }
  /** The same weights under one more name. */
  | {
      readonly kind: 'copy';
      readonly model: string;
      readonly step: number;
      readonly from: { model: string; step: number };
    }
  | { readonly kind: 'delete'; readonly model: string; readonly step: number; readonly by: 'admin' | 'openai' }
  | { readonly kind: 'alias'; readonly model: string; readonly alias: string; readonly step: number | undefined }
  | { readonly kind: 'pin'; readonly model: string; readonly step: number }
  | { readonly kind: 'unpin'; readonly model: string; readonly step: number }
  /** Taken over from the same owner's reservation before. */
  | { readonly kind: 'reserve'; readonly owner: string; readonly what: Readonly<Record<string, string>> }
  | { readonly kind: 'release'; readonly owner: string }
  /** The secret that counted counts no more; the key has another one, or another key is made. */
  | { readonly kind: 'key'; readonly name: string; readonly does: 'rotate' | 'revoke' }
  | { readonly kind: 'sweep'; readonly model: string; readonly steps: readonly number[]; readonly requests: number };

export function* planOf({ seed, engines, requestsEach = 4000 }: PlanOptions): Generator<Turn, never> {
  const lines = MODELS.map((cast) => new Line(cast));
  for (let number = 0; ; number += 1) {
    // Its own stream of chance, so that one more decision in a turn leaves the others as they were.
    const random = seeded(seed * 100_003 + number);
    const weather = number % 2 === 0 ? 'quiet' : 'storm';
    const count = weather === 'quiet' ? Math.ceil(requestsEach / 2) : requestsEach;
    const deeds = [
      ...Array.from({ length: Math.ceil(count / 100) }, () => ({ at: random.below(count), deed: undefined })),
      ...operations(random, { count, engines }),
      ...(weather === 'storm' ? troubles(random, { count, engines, lines }) : []),
    ].sort((a, b) => a.at - b.at);
    yield { number, weather, ...filled(random, { count, deeds, lines }) };
  }
}

type Open = readonly { readonly at: number; readonly deed: Trouble | Operating | undefined }[];

/** Requests and publishing in the order in which they come, so that a request knows what was published before it. */
function filled(
  random: Random,
  { count, deeds, lines }: { readonly count: number; readonly deeds: Open; readonly lines: readonly Line[] },
): Pick<Turn, 'requests' | 'deeds'> {
  const requests: Request[] = [];
  const done: { at: number; deed: Deed }[] = [];
  for (const { at, deed } of deeds) {
    while (requests.length < at) requests.push(requestOf(random, lines));
    done.push({ at, deed: deed ?? publishing(random, lines) });
  }
  while (requests.length < count) requests.push(requestOf(random, lines));
  return { requests, deeds: done };
}

const ALIASES = ['champion', 'canary'];
const OWNERS = ['anna', 'ben'];

function publishing(random: Random, lines: readonly Line[]): Publishing {
  const line = random.pick(lines);
  const { model } = line.cast;
  const chance = random.next();
  const seed = 1 + random.below(1_000_000);
  if (chance < 0.42) return { kind: 'write', model, step: newStep(line), seed };
  if (chance < 0.54) return { kind: 'write', model, step: line.recent(random), seed };
  if (chance < 0.58 && line.cast.comes === 'watched') return flawed(random, line, seed);
  if (chance < 0.62) return copied(random, line, lines);
  if (chance < 0.72 && line.steps.length > 3) return deletion(random, line);
  if (chance < 0.84) return naming(random, line);
  if (chance < 0.9) return pinning(random, line);
  if (chance < 0.95) return reservation(random, line);
  if (chance < 0.98) return { kind: 'key', name: random.pick(KEY_NAMES), does: random.pick(['rotate', 'revoke']) };
  return { kind: 'sweep', model, steps: line.steps.slice(-4), requests: 1 + random.below(20) };
}

function newStep(line: Line): number {
  const step = line.fresh();
  line.add(step);
  return step;
}

function flawed(random: Random, line: Line, seed: number): Publishing {
  const step = line.fresh();
  line.lose(step);
  return { kind: 'write', model: line.cast.model, step, seed, flaw: random.pick(['dora', 'bias', 'modulesToSave']) };
}

function copied(random: Random, line: Line, lines: readonly Line[]): Publishing {
  const other = random.pick(lines);
  const from = { model: other.cast.model, step: other.recent(random) };
  return { kind: 'copy', model: line.cast.model, step: newStep(line), from };
}

/** Also of what a pin or an alias holds: that is refused. */
function deletion(random: Random, line: Line): Publishing {
  const step = random.pick(line.steps);
  if (!line.isHeld(step)) line.drop(step);
  return { kind: 'delete', model: line.cast.model, step, by: random.pick(['admin', 'openai']) };
}

function naming(random: Random, line: Line): Publishing {
  const { model } = line.cast;
  const alias = random.pick(ALIASES);
  if (line.aliases.has(alias) && random.chance(0.2)) {
    line.aliases.delete(alias);
    return { kind: 'alias', model, alias, step: undefined };
  }
  const step = line.recent(random);
  line.aliases.set(alias, step);
  return { kind: 'alias', model, alias, step };
}

function pinning(random: Random, line: Line): Publishing {
  const { model } = line.cast;
  const [pinned] = line.pinned;
  if (pinned !== undefined && random.chance(0.6)) {
    line.pinned.delete(pinned);
    return { kind: 'unpin', model, step: pinned };
  }
  const step = line.recent(random);
  line.pinned.add(step);
  return { kind: 'pin', model, step };
}

function reservation(random: Random, line: Line): Publishing {
  const { model } = line.cast;
  const owner = random.pick(OWNERS);
  if (random.chance(0.5)) return { kind: 'release', owner };
  const what = random.pick([
    { checkpoint: `${model}@${line.recent(random)}` },
    { model },
    { latest: model },
    { class: 'eval' },
  ]);
  return { kind: 'reserve', owner, what: what as Readonly<Record<string, string>> };
}

/** Up to two a turn, in any weather; some end by a second deed. */
function operations(
  random: Random,
  { count, engines }: { readonly count: number; readonly engines: number },
): { at: number; deed: Operating }[] {
  return Array.from({ length: random.below(3) }, () =>
    operation(random, { count, engine: random.below(engines) }),
  ).flat();
}

function operation(
  random: Random,
  { count, engine }: { readonly count: number; readonly engine: number },
): { at: number; deed: Operating }[] {
  const at = random.below(count);
  const until = at + random.below(count - at);
  switch (random.pick(['drain', 'without', 'other', 'broken', 'signal'] as const)) {
    case 'drain':
      return [
        { at, deed: { kind: 'drain', engine } },
        { at: until, deed: { kind: 'undrain', engine } },
      ];
    case 'without':
      return [
        { at, deed: { kind: 'reload', what: 'without', engine, by: 'api' } },
        { at: until, deed: { kind: 'reload', what: 'same', by: 'api' } },
      ];
    case 'other':
      return [{ at, deed: { kind: 'reload', what: 'other', by: 'api' } }];
    case 'broken':
      return [{ at, deed: { kind: 'reload', what: 'broken', by: 'api' } }];
    case 'signal':
      return [{ at, deed: { kind: 'reload', what: 'same', by: 'signal' } }];
  }
}
