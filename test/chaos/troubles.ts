// The troubles of a storm: what engines and the gateway suffer, and when among the requests. Each is over when its turn is. Pure: chance is an argument.
import type { Door, Fault } from '../../src/sim/faults.ts';
import type { Random } from '../random.ts';
import type { Line } from './cast.ts';

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

export interface Sky {
  readonly count: number;
  readonly engines: number;
  readonly lines: readonly Line[];
}

export function troubles(random: Random, sky: Sky): { at: number; deed: Trouble }[] {
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
