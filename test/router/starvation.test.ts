// Nobody starves, whatever the others do: callers that ask again as soon as they are answered, for more adapters than there are slots, in
// virtual time without faults. Each wait is held against its bound; the laws are judged besides.
import { describe, expect, test } from 'vitest';
import { Heap } from '../../bench/scheduling/heap.ts';
import {
  as,
  type BackendName,
  type BaseName,
  CLASSES,
  type RequestClass,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { AdapterTarget } from '../../src/router/events.ts';
import type { RouterOptions } from '../../src/router/router.ts';
import { seeded, seeds } from '../random.ts';
import { POLICIES } from './policies.ts';
import { Run, report } from './run.ts';
import { OPTIONS } from './transcript.ts';

const SERVICE_MS_MAX = 300;
const LOAD_MS_MAX = 50;
/** An adapter is not drained before it has served so many times what its load took. */
const QUANTUM_LOADS = 4;
const SLOTS = 2;

/** Nobody is, here: all are served in time. */
class Refused extends Error {}

interface Caller {
  readonly adapter: number;
  readonly class: RequestClass;
  readonly tenant: string;
  /** From the answer to its next request. */
  readonly pauseMs: number;
}

const base = as<BaseName>('base');
const backend = as<BackendName>('gpu-0');

const target = (index: number): AdapterTarget => ({
  kind: 'adapter',
  adapter: as(`m@${index}`),
  model: as('m'),
  base,
  rank: 8,
});

/** The longest wait of each caller over so many answers in all. */
function waitsOf(
  callers: readonly Caller[],
  { seed, options, answers }: { seed: number; options: RouterOptions; answers: number },
): number[] {
  const random = seeded(seed);
  const run = new Run(options, { auditEvery: 16 });
  const agenda = new Heap<() => void>();
  const asked = new Map<TicketId, { who: number; at: number }>();
  const longest = callers.map(() => 0);
  let [tickets, answered] = [0, 0];
  const later = (ms: number, act: () => void) => agenda.push(run.now + 1 + Math.floor(ms), act);
  const ask = (who: number) => {
    const caller = callers[who] as Caller;
    const ticket = as<TicketId>(++tickets);
    asked.set(ticket, { who, at: run.now });
    const tenant = as<TenantId>(caller.tenant);
    const what = { target: target(caller.adapter), class: caller.class, tenant, affinity: undefined };
    carryOut(run.feed({ type: 'arrived', ticket, ...what }));
  };
  const started = (ticket: TicketId) => {
    const { who, at } = asked.get(ticket) ?? { who: 0, at: run.now };
    longest[who] = Math.max(longest[who] ?? 0, run.now - at);
    later(random.next() * (SERVICE_MS_MAX - 1), () => {
      answered++;
      carryOut(run.feed({ type: 'ended', ticket, outcome: 'done' }));
      later((callers[who]?.pauseMs ?? 0) - 1, () => ask(who));
    });
  };
  const carryOut = (effects: readonly Effect[]): void => {
    for (const effect of effects) {
      if (effect.type === 'dispatch') started(effect.ticket);
      if (effect.type === 'reject')
        throw new Refused(`seed ${seed}: ticket ${effect.ticket} was refused: ${effect.message}`);
      if (effect.type !== 'load' && effect.type !== 'unload') continue;
      const type = effect.type === 'load' ? 'loaded' : 'unloaded';
      const { adapter } = effect;
      later(random.next() * (LOAD_MS_MAX - 1), () => carryOut(run.feed({ type, backend, adapter })));
    }
  };
  try {
    run.feed({ type: 'backendUp', backend, bases: [base], slots: SLOTS, rankMax: undefined, adapters: [] });
    for (const who of callers.keys()) ask(who);
    while (answered < answers) {
      if (run.wakeAt <= agenda.key) carryOut(run.tick());
      else {
        run.now = agenda.key;
        agenda.pop()?.();
      }
    }
  } catch (error) {
    throw error instanceof Refused ? error : report(error, run, { options, seed: `seed ${seed}` });
  }
  return longest;
}

/** Its class's bound, then a turn of every other adapter that was due before: each keeps a slot for its quantum, its longest request and a load. */
function boundOf(caller: Caller, callers: readonly Caller[], { drainAfterMs }: RouterOptions): number {
  const others = new Set(callers.map(({ adapter }) => adapter)).size - 1;
  const turnMs = QUANTUM_LOADS * LOAD_MS_MAX + SERVICE_MS_MAX + 2 * LOAD_MS_MAX;
  return drainAfterMs[caller.class] + (Math.ceil(others / SLOTS) + 1) * turnMs;
}

const loop = (adapter: number, kind: RequestClass, count: number): Caller[] =>
  Array.from({ length: count }, (_, index) => ({ adapter, class: kind, tenant: `t${index % 2}`, pauseMs: 0 }));

const WORLDS: readonly { readonly name: string; readonly callers: readonly Caller[] }[] = [
  ...CLASSES.map((kind) => ({
    name: `two adapters in a loop of interactive requests, a third of class ${kind}`,
    callers: [...loop(0, 'interactive', 8), ...loop(1, 'interactive', 8), ...loop(2, kind, 1)],
  })),
  {
    name: 'six adapters of all classes, each in a loop',
    callers: [0, 1, 2, 3, 4, 5].flatMap((adapter) => loop(adapter, CLASSES[adapter % 3] ?? 'eval', 4)),
  },
];

describe.each(POLICIES)('with the $name policy nobody waits beyond his bound', ({ make }) => {
  describe.each(WORLDS)('$name', ({ callers }) => {
    test.each(seeds(1))('(seed %i)', { timeout: 60_000 }, (seed) => {
      const options = { ...OPTIONS, waitMsMax: 60_000, policy: make(seed) };
      const waits = waitsOf(callers, { seed, options, answers: 5000 });
      for (const [who, caller] of callers.entries()) {
        const told = `seed ${seed}: ${caller.class} for adapter ${caller.adapter}`;
        expect(waits[who], told).toBeLessThanOrEqual(boundOf(caller, callers, options));
      }
    });
  });
});
