// Small worlds as lists of commands, for fast-check: each is a few small numbers that mean something in any state ("the second load under way
// fails"), so that a list with some left out is a list still, and a failure shrinks.
import fc from 'fast-check';
import type { ModelName, ReservationId, SweepId, TenantId, TicketId } from '../../src/domain.ts';
import { type AdapterId, as, type BackendName, type BaseName, type CheckpointId, CLASSES } from '../../src/domain.ts';
import type { AdapterTarget, Outcome, ReservedFor } from '../../src/router/events.ts';
import { refusal } from '../../src/router/reservations.ts';
import type { Run } from './run.ts';

const small = (max: number) => fc.nat({ max });

const COMMAND = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant('arrive'), small(5), small(2), small(1)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('arriveAtBase'), small(1), small(2), small(1)) },
  { weight: 6, arbitrary: fc.tuple(fc.constant('answer'), small(3), small(7), small(0)) },
  { weight: 5, arbitrary: fc.tuple(fc.constant('end'), small(5), small(7), small(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('cancel'), small(5), small(0), small(0)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('pass'), small(16), small(0), small(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('up'), small(2), small(3), small(7)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('down'), small(2), small(1), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('fail'), small(2), small(4), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('retry'), small(5), small(0), small(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('cordon'), small(2), small(1), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('gone'), small(2), small(0), small(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('observe'), small(2), small(3), small(31)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('publish'), small(5), small(0), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('retire'), small(5), small(0), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('reserve'), small(5), small(3), small(1)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('release'), small(5), small(0), small(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('announce'), small(1), small(31), small(2)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('withdraw'), small(1), small(0), small(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('again'), small(9), small(0), small(0)) },
);

export type Command = readonly [name: string, a: number, b: number, c: number];

export const commands: fc.Arbitrary<Command[]> = fc.array(COMMAND, { maxLength: 80, size: 'max' });

/** The last one is of another base, the last but one of a rank that `gpu-2` does not take. */
const target = (index: number): AdapterTarget => ({
  kind: 'adapter',
  adapter: as<AdapterId>(`m${index % 2}@${index}`),
  model: as<ModelName>(`m${index % 2}`),
  base: as<BaseName>(index === 5 ? 'other' : 'base'),
  rank: index === 4 ? 64 : 8,
});

const engine = (index: number) => as<BackendName>(`gpu-${index}`);

/** What engine `index` lists: some of those that it could have loaded. */
const adaptersIn = (bits: number, index: number): AdapterId[] =>
  [0, 1, 2, 3, ...(index === 2 ? [] : [4])]
    .filter((which) => bits & (1 << which))
    .map((which) => target(which).adapter);

const pick = <T>(items: readonly T[], index: number): T | undefined => items[index % Math.max(1, items.length)];

/** Of time, ms: nothing, a moment, or until some bound has passed. */
const PASS_MS = [0, 1, 2, 5, 10, 50, 100, 300, 999, 1000, 2000, 3000, 6000, 9000, 20_000, 31_000, 700_000];

/** Not told again: a ticket arrives once, and what is over-committed or deleted by then is not reserved or announced. */
const ONCE = new Set(['arrived', 'reserved', 'announced']);

export function perform(run: Run, [name, a, b, c]: Command): void {
  const { books } = run.judge;
  switch (name) {
    case 'arrive':
    case 'arriveAtBase': {
      const what = name === 'arrive' ? target(a) : ({ kind: 'base', base: target(4 + a).base } as const);
      const ticket = as<TicketId>(run.history.length + 1);
      const kind = CLASSES[b] ?? 'eval';
      const tenant = as<TenantId>(`t${c}`);
      return void run.feed({ type: 'arrived', ticket, target: what, class: kind, tenant, affinity: undefined });
    }
    case 'answer':
      return answer(run, a, b);
    case 'end': {
      const ticket = pick(
        [...books.tickets.values()].filter(({ place }) => place !== undefined),
        a,
      );
      const outcome = OUTCOMES[b] ?? 'done';
      return ticket && void run.feed({ type: 'ended', ticket: ticket.id, outcome });
    }
    case 'cancel': {
      const ticket = pick([...books.tickets.keys()], a);
      return ticket === undefined ? undefined : void run.feed({ type: 'cancelled', ticket });
    }
    case 'pass':
      return run.pass(run.now + (PASS_MS[a] ?? 0));
    case 'up': {
      if (books.engines.get(engine(a))?.up === true) return;
      const bases = (a === 0 ? ['base', 'other'] : ['base']) as BaseName[];
      const startedAt = c % 2 === 0 ? b : undefined;
      const what = { backend: engine(a), bases, slots: 1 + b, rankMax: a === 2 ? 16 : undefined, startedAt };
      const runningMax = c % 3 === 0 ? 1 + c : undefined;
      return void run.feed({ type: 'backendUp', ...what, runningMax, adapters: adaptersIn(c, a) });
    }
    case 'down':
      if (books.engines.get(engine(a))?.up === true)
        run.feed({ type: 'backendDown', backend: engine(a), died: b === 1 });
      return;
    case 'cordon':
      return void run.feed({ type: b === 0 ? 'cordoned' : 'uncordoned', backend: engine(a) });
    case 'gone':
      return void run.feed({ type: 'backendGone', backend: engine(a) });
    case 'fail':
      return fail(run, a, OUTCOMES[b + 3] ?? 'failed');
    case 'retry':
      return void run.feed({ type: 'retry', adapter: target(a).adapter });
    case 'observe':
      return observe(run, [name, a, b, c]);
    case 'publish': {
      const { model, adapter } = target(a);
      const checkpoint = as<CheckpointId>(`id-${adapter}`);
      return void run.feed({ type: 'published', model, checkpoint, target: target(a) });
    }
    case 'retire':
      return void run.feed({ type: 'retired', adapter: target(a).adapter });
    case 'reserve':
      return reserve(run, [name, a, b, c]);
    case 'release':
      return void run.feed({ type: 'released', reservation: as<ReservationId>(`r${a}`) });
    case 'announce': {
      const isGone = (index: number) => books.retired.has(target(index).adapter);
      const indices = [0, 1, 2, 3].filter((index) => b & (1 << index) && !isGone(index));
      const expected = indices.map((index) => ({ target: target(index), requests: c }));
      if (expected.length > 0) run.feed({ type: 'announced', sweep: as<SweepId>(`s${a}`), expected });
      return;
    }
    case 'withdraw':
      return void run.feed({ type: 'withdrawn', sweep: as<SweepId>(`s${a}`) });
    case 'again': {
      const fed = run.history.at(-1 - a);
      if (fed !== undefined && !ONCE.has(fed.event.type)) run.feed(fed.event);
    }
  }
}

const OUTCOMES: readonly Outcome[] = ['done', 'done', 'done', 'failed', 'erred', 'busy', 'refused', 'missing'];

/** Five times a request comes for what the engine has, and does not go well. */
function fail(run: Run, which: number, outcome: Outcome): void {
  const name = engine(which);
  for (let times = 0; times < 5; times++) {
    const what = { kind: 'base', base: as<BaseName>('base') } as const;
    const who = { class: 'interactive', tenant: as<TenantId>('t0'), affinity: undefined } as const;
    run.feed({ type: 'arrived', ticket: as<TicketId>(run.history.length + 1), target: what, ...who });
    const running = [...run.judge.books.tickets.values()].find(({ place }) => place?.engine.name === name);
    if (running !== undefined) run.feed({ type: 'ended', ticket: running.id, outcome });
  }
}

/** The engine did what it was asked, or (6, 7) failed to. */
function answer(run: Run, which: number, how: number): void {
  const asked = [...run.judge.books.engines.values()].flatMap(({ name, held }) =>
    [...held.values()].filter(({ phase }) => phase !== 'loaded').map((one) => ({ backend: name, one })),
  );
  const chosen = pick(asked, which);
  if (chosen === undefined) return;
  const { adapter, phase } = chosen.one;
  const told = { backend: chosen.backend, adapter };
  if (phase === 'unloading') run.feed({ type: how < 6 ? 'unloaded' : 'unloadFailed', ...told });
  else if (how < 6) run.feed({ type: 'loaded', ...told });
  else run.feed({ type: 'loadFailed', ...told, fault: how === 6 ? 'adapter' : 'backend', message: 'no' });
}

/** What the engine lists, or a lie, or the truth of a moment ago. */
function observe(run: Run, [, a, b, bits]: Command): void {
  const known = run.judge.books.engines.get(engine(a));
  if (known === undefined) return;
  const isTrue = b < 2;
  const adapters = isTrue ? [...known.held.keys()] : adaptersIn(bits, a);
  const slots = b === 3 ? 1 + (bits % 3) : known.slots;
  const gauges = bits & 8 ? { running: known.running, waiting: bits & 3 } : undefined;
  run.feed({ type: 'observed', backend: engine(a), askedAt: run.now - (bits % 2), slots, adapters, gauges });
}

/** As the shell does: what would be over-committed is refused before it comes to the router. */
function reserve(run: Run, [, a, kind, slots]: Command): void {
  const { model, base } = target(a);
  const whats: ReservedFor[] = [
    { kind: 'adapter', target: target(a) },
    { kind: 'model', model, base },
    { kind: 'latest', model, base },
    { kind: 'class', class: CLASSES[a % 3] ?? 'eval' },
  ];
  const what = whats[kind];
  if (what === undefined) return;
  const reservation = { id: as<ReservationId>(`r${a}`), for: what, slots: 1 + slots };
  const { state } = run.router;
  if (what.kind === 'adapter' && run.judge.books.retired.has(what.target.adapter)) return;
  if (refusal(state, reservation, () => '') === undefined) run.feed({ type: 'reserved', reservation });
}
