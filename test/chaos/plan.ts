// What happens in a chaos run, turn by turn: requests, and deeds at their places among them. It follows from the seed alone, so that a seed replays
// every decision; how long anything takes is not part of it. Turns are storms and quiet stretches in alternation. Pure.
import type { Door, Fault } from '../../src/sim/faults.ts';
import type { Flaw } from '../../src/sim/trainer.ts';
import { type Random, seeded } from '../random.ts';
import { Line, MODELS } from './cast.ts';
import { type Request, requestOf } from './requests.ts';

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

export type Deed = Publishing | Trouble;

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
  | { readonly kind: 'sweep'; readonly model: string; readonly steps: readonly number[]; readonly requests: number };

/** What only storms bring. All of it is over when the turn is. */
export type Trouble =
  | {
      readonly kind: 'fault';
      readonly engine: number;
      readonly door: Door;
      readonly fault: Fault;
      readonly times: number;
    }
  /** `crash`: it loses all. `cutOff`: it loses its connections. Both until `back`. */
  | { readonly kind: 'crash' | 'cutOff' | 'restart' | 'back'; readonly engine: number }
  /** Drops so many of its adapters without a word. */
  | { readonly kind: 'forget'; readonly engine: number; readonly adapters: number }
  /** Its list shows adapters that it does not hold, or hides those that it holds, or shows them at another path. */
  | {
      readonly kind: 'lie';
      readonly engine: number;
      readonly about: 'more' | 'fewer' | 'paths';
      readonly times: number;
    }
  /** Somebody loads other weights there, past the gateway, under a name that is the gateway's. */
  | { readonly kind: 'intrude'; readonly engine: number; readonly model: string; readonly step: number }
  | { readonly kind: 'killGateway' | 'stopGateway' };

export const MADE_TO_FAIL = 'made to fail by the chaos run';

export function* planOf({ seed, engines, requestsEach = 4000 }: PlanOptions): Generator<Turn, never> {
  const lines = MODELS.map((cast) => new Line(cast));
  for (let number = 0; ; number += 1) {
    // Its own stream of chance, so that one more decision in a turn leaves the others as they were.
    const random = seeded(seed * 100_003 + number);
    const weather = number % 2 === 0 ? 'quiet' : 'storm';
    const count = weather === 'quiet' ? Math.ceil(requestsEach / 2) : requestsEach;
    const deeds = [
      ...Array.from({ length: Math.ceil(count / 100) }, () => ({ at: random.below(count), deed: undefined })),
      ...(weather === 'storm' ? troubles(random, { count, engines, lines }) : []),
    ].sort((a, b) => a.at - b.at);
    yield { number, weather, ...filled(random, { count, deeds, lines }) };
  }
}

type Open = readonly { readonly at: number; readonly deed: Trouble | undefined }[];

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
  if (chance < 0.97) return reservation(random, line);
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

interface Sky {
  readonly count: number;
  readonly engines: number;
  readonly lines: readonly Line[];
}

function troubles(random: Random, sky: Sky): { at: number; deed: Trouble }[] {
  const all = Array.from({ length: Math.ceil(sky.count / 400) + random.below(Math.ceil(sky.count / 200)) }, () =>
    trouble(random, sky),
  ).flat();
  // What an engine has forgotten, and somebody else has put in its place before anybody looked, no gateway could tell from its own.
  const forgetful = new Set(
    all.flatMap(({ deed }) => (FORGETFUL.has(deed.kind) && 'engine' in deed ? [deed.engine] : [])),
  );
  const storm = all.filter(({ deed }) => deed.kind !== 'intrude' || !forgetful.has(deed.engine));
  if (random.chance(0.3)) storm.push({ at: random.below(sky.count), deed: { kind: 'killGateway' } });
  else if (random.chance(0.15)) storm.push({ at: random.below(sky.count), deed: { kind: 'stopGateway' } });
  return storm;
}

const FORGETFUL: ReadonlySet<Trouble['kind']> = new Set(['crash', 'restart', 'forget']);

/** Of one cause; some end by a second deed. In the first two thirds, so that what hangs is over soon after the turn. */
function trouble(random: Random, { count, engines, lines }: Sky): { at: number; deed: Trouble }[] {
  const at = random.below(Math.ceil((count * 2) / 3));
  const engine = random.below(engines);
  const until = at + random.below(Math.ceil(count / 4));
  const kind = random.pick([
    'crash',
    'cutOff',
    'restart',
    'forget',
    'lie',
    'intrude',
    'fault',
    'fault',
    'fault',
    'fault',
  ] as const);
  switch (kind) {
    case 'crash':
    case 'cutOff':
      return [
        { at, deed: { kind, engine } },
        { at: until, deed: { kind: 'back', engine } },
      ];
    case 'restart':
      return [{ at, deed: { kind, engine } }];
    case 'forget':
      return [{ at, deed: { kind, engine, adapters: 1 + random.below(2) } }];
    case 'lie': {
      const about = random.pick(['more', 'fewer', 'paths'] as const);
      return [{ at, deed: { kind, engine, about, times: 1 + random.below(3) } }];
    }
    case 'intrude': {
      const line = random.pick(lines);
      return [{ at, deed: { kind, engine, model: line.cast.model, step: line.recent(random) } }];
    }
    case 'fault':
      return [{ at, deed: { kind, engine, ...fault(random) } }];
  }
}

const status = (status: number, type = 'InternalServerError'): Fault => ({
  kind: 'status',
  status,
  body: { error: { message: MADE_TO_FAIL, type, param: null, code: status } },
});

/**
 * What each door may do wrong. Not `end`: a stream that its engine ends in order is passed on as it is, and a run could not tell it from one that the
 * gateway cut.
 */
const FAULTS: Readonly<Record<Exclude<Door, 'metrics'>, readonly Fault[]>> = {
  inference: [
    status(500),
    status(503, 'ServiceUnavailable'),
    status(429, 'TooManyRequests'),
    { kind: 'hang' },
    { kind: 'reset' },
    { kind: 'garbage' },
    { kind: 'late', ms: 200 },
    { kind: 'cut', afterTokens: 1 },
    { kind: 'cut', afterTokens: 2 },
    { kind: 'stall', afterTokens: 1 },
    { kind: 'error', afterTokens: 1 },
  ],
  load: [
    status(500),
    { kind: 'status', status: 502, body: 'no engine behind this proxy' },
    { kind: 'hang' },
    { kind: 'reset' },
    { kind: 'garbage' },
    { kind: 'late', ms: 100 },
    { kind: 'late', ms: 1500 },
    { kind: 'lost' },
  ],
  unload: [status(500), { kind: 'hang' }, { kind: 'reset' }, { kind: 'late', ms: 100 }, { kind: 'lost' }],
  models: [status(500), { kind: 'hang' }, { kind: 'reset' }, { kind: 'garbage' }, { kind: 'late', ms: 100 }],
  health: [status(503), { kind: 'hang' }, { kind: 'reset' }],
};

function fault(random: Random): { door: Door; fault: Fault; times: number } {
  const door = random.pick([
    'inference',
    'inference',
    'inference',
    'load',
    'load',
    'unload',
    'models',
    'health',
  ] as const);
  const fault = random.pick(FAULTS[door]);
  const times = door === 'inference' && fault.kind !== 'hang' ? 1 + random.below(30) : 1 + random.below(3);
  return { door, fault, times };
}
