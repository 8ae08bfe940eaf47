// Promises of reservations, as transcripts; what is refused and why; and the law that no load or eviction of ours takes what is kept.
import { describe, expect, test } from 'vitest';
import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  CLASSES,
  type ModelName,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import type { AdapterTarget, Reservation, ReservedFor, RouterEvent } from '../../src/router/events.ts';
import { unfilled } from '../../src/router/reservation-plan.ts';
import { keptFor, keptOn, refusal } from '../../src/router/reservations.ts';
import { Router } from '../../src/router/router.ts';
import { isReady, type RouterState } from '../../src/router/state.ts';
import { type Random, seeded, seeds } from '../random.ts';
import { OPTIONS, replay, trim } from './transcript.ts';

const promise = (words: string, transcript: string) =>
  test(words, () => expect(replay(transcript)).toBe(trim(transcript)));

describe('a slot kept for a checkpoint', () => {
  promise(
    'holds it ahead of requests, and nobody takes it, however long they wait',
    `>> up gpu-0
     >> reserved r adapter m@5
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5
     >> arrived 1 n@1
     << load gpu-0 n@1 room
     >> loaded gpu-0 n@1
     << dispatch 1 gpu-0 room
     >> arrived 2 n@2
     @ 1000
     >> ended 1
     << unload gpu-0 n@1 drain
     >> unloaded gpu-0 n@1
     << load gpu-0 n@2 drain
     >> arrived 3 m@5
     << dispatch 3 gpu-0 resident
     >> released r
     >> arrived 4 n@3
     >> ended 3
     << unload gpu-0 m@5 evict`,
  );

  promise(
    'is emptied of what is in it, but not under a running request',
    `>> up gpu-0 holds=n@1,n@2
     >> arrived 1 n@1
     << dispatch 1 gpu-0 resident
     >> arrived 2 n@2
     << dispatch 2 gpu-0 resident
     >> arrived 3 n@2
     << dispatch 3 gpu-0 resident
     >> reserved r adapter m@5
     >> arrived 4 n@1
     >> ended 1
     << unload gpu-0 n@1 reserved
     >> unloaded gpu-0 n@1
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5`,
  );

  promise(
    'is filled again when its engine came back, or on another one while it is down',
    `>> up gpu-0
     >> reserved r adapter m@5
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5
     >> up gpu-1
     >> down gpu-0
     << load gpu-1 m@5 reserved
     >> loaded gpu-1 m@5
     >> up gpu-0
     >> down gpu-1
     << load gpu-0 m@5 reserved
     >> up gpu-1`,
  );

  promise(
    'may be one on each of several engines',
    `>> up gpu-0
     >> up gpu-1
     >> reserved r adapter m@5 slots=2
     << load gpu-0 m@5 reserved
     << load gpu-1 m@5 reserved`,
  );

  promise(
    'that fails to load is tried elsewhere, and later again',
    `>> up gpu-0
     >> up gpu-1
     >> reserved r adapter m@5
     << load gpu-0 m@5 reserved
     >> loadFailed gpu-0 m@5 adapter no such file
     << load gpu-1 m@5 reserved
     >> loadFailed gpu-1 m@5 adapter no such file
     @ 40000
     << load gpu-0 m@5 reserved`,
  );

  promise(
    'is given up with its checkpoint',
    `>> up gpu-0
     >> reserved r adapter m@5
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5
     >> retired m@5
     << unload gpu-0 m@5 retired
     >> unloaded gpu-0 m@5
     >> arrived 1 n@1
     << load gpu-0 n@1 room
     >> arrived 2 n@2
     << load gpu-0 n@2 room`,
  );

  promise(
    'that follows a name changes its content when the name leads elsewhere',
    `>> up gpu-0 slots=2 holds=n@1
     >> reserved r adapter m@5
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5
     >> reserved r adapter m@6
     << unload gpu-0 m@5 reserved
     >> unloaded gpu-0 n@1
     >> loaded gpu-0 m@6
     >> arrived 1 n@1
     << dispatch 1 gpu-0 resident`,
  );
});

describe('slots kept for a model', () => {
  promise(
    'stay free until its adapters come, and make room among themselves',
    `>> up gpu-0 slots=2
     >> reserved r model m
     >> arrived 1 n@1
     << load gpu-0 n@1 room
     >> arrived 2 n@2
     >> arrived 3 m@1
     << load gpu-0 m@1 room
     >> loaded gpu-0 m@1
     << dispatch 3 gpu-0 room
     >> ended 3
     >> arrived 4 m@2
     << unload gpu-0 m@1 evict
     >> unloaded gpu-0 m@1
     << load gpu-0 m@2 evict
     >> loaded gpu-0 m@2
     << dispatch 4 gpu-0 evict
     >> ended 4
     >> arrived 5 n@3`,
  );

  promise(
    'are where one of its adapters is already',
    `>> up gpu-0 slots=2
     >> up gpu-1 slots=2
     >> arrived 1 m@1
     << load gpu-0 m@1 room
     >> loaded gpu-0 m@1
     << dispatch 1 gpu-0 room
     >> ended 1
     >> reserved r model m
     >> arrived 2 n@1
     << load gpu-0 n@1 room
     >> arrived 3 n@2
     << load gpu-1 n@2 room
     >> arrived 4 n@3
     << load gpu-1 n@3 room
     >> arrived 5 n@4`,
  );
});

describe('slots kept for a class', () => {
  promise(
    'wait for its requests; what was loaded for them stays while others come',
    `>> up gpu-0 slots=2
     >> reserved r class interactive
     >> arrived 1 m@1 class=eval
     << load gpu-0 m@1 room
     >> arrived 2 m@2 class=eval
     >> arrived 3 m@3 class=interactive
     << load gpu-0 m@3 room
     >> loaded gpu-0 m@3
     << dispatch 3 gpu-0 room
     >> ended 3
     >> arrived 4 m@4 class=eval
     >> arrived 5 m@5 class=interactive
     << unload gpu-0 m@3 evict`,
  );
});

describe('slots kept for latest', () => {
  promise(
    'hold the newest step and leave one for the next; the step before it goes once its requests have ended',
    `>> up gpu-0 slots=3
     >> reserved r latest m@5 slots=2
     << load gpu-0 m@5 reserved
     >> loaded gpu-0 m@5
     >> arrived 1 n@1
     << load gpu-0 n@1 room
     >> loaded gpu-0 n@1
     << dispatch 1 gpu-0 room
     >> arrived 2 n@2
     >> arrived 3 m@5
     << dispatch 3 gpu-0 resident
     >> published m@6
     << load gpu-0 m@6 publish
     >> loaded gpu-0 m@6
     << promote m id-m@6
     >> reserved r latest m@6 slots=2
     >> arrived 4 m@6
     << dispatch 4 gpu-0 resident
     >> ended 3
     << unload gpu-0 m@5 reserved
     >> unloaded gpu-0 m@5
     >> published m@7
     << load gpu-0 m@7 publish`,
  );
});

describe('what cannot be kept is refused with the numbers', () => {
  const fleet = (...events: RouterEvent[]) => {
    const router = new Router(OPTIONS);
    for (const event of events) router.step(event, 0);
    return router.state;
  };
  const up = (name: string, slots: number, rankMax?: number): RouterEvent => ({
    type: 'backendUp',
    backend: as(name),
    bases: [as('base')],
    slots,
    rankMax,
    adapters: [],
  });
  const kept = (id: string, what: ReservedFor, slots: number): Reservation => ({ id: as(id), for: what, slots });
  const model: ReservedFor = { kind: 'model', model: as('m'), base: as('base') };
  const adapter = (rank: number): ReservedFor => ({
    kind: 'adapter',
    target: { kind: 'adapter', adapter: as('m@5'), model: as('m'), base: as('base'), rank },
  });
  const ask = (state: RouterState, reservation: Reservation) => refusal(state, reservation, () => 'ann');

  test('one slot stays for everybody else', () => {
    const state = fleet(up('gpu-0', 2), up('gpu-1', 2));
    expect(ask(state, kept('r', model, 3))).toBeUndefined();
    expect(ask(state, kept('r', model, 4))).toBe(
      '4 of 4 slots for model m: only 3 can be kept. gpu-0 has 2, gpu-1 has 2. Kept already: none; one stays for everybody else. ' +
        'Ask for fewer, remove a reservation ("stepgate reserve" lists them), or give the engines more slots.',
    );
  });

  test('who holds how many is said, and engines that are down are named', () => {
    const first = kept('r', model, 2);
    const state = fleet(up('gpu-0', 3), { type: 'reserved', reservation: first }, up('gpu-1', 3), {
      type: 'backendDown',
      backend: as('gpu-1'),
    });
    const asked = kept('s', { kind: 'class', class: 'eval' }, 1);
    expect(ask(state, asked)).toMatch(/none can be kept\. gpu-0 has 3; gpu-1 is down\. .*2 for model m \(r, ann\)/);
    expect(ask(state, { ...first, slots: 1 })).toBeUndefined();
  });

  test('an adapter is in an engine once, and only where its rank fits, where another such adapter must find a slot too', () => {
    const state = fleet(up('gpu-0', 4, 16), up('gpu-1', 2, 64));
    expect(ask(state, kept('r', adapter(8), 2))).toBeUndefined();
    expect(ask(state, kept('r', adapter(8), 3))).toMatch(/only 2 can be kept.*holds an adapter once/);
    expect(ask(state, kept('r', adapter(32), 2))).toMatch(/2 of 2 slots for m@5: only 1 .*gpu-1 has 2/);
    expect(ask(fleet(up('gpu-1', 1, 64), up('gpu-0', 9, 16)), kept('r', adapter(32), 1))).toMatch(/none can be kept/);
  });

  test('without an engine of its base there is nothing to keep', () => {
    const elsewhere: ReservedFor = { ...model, base: as('other') };
    expect(ask(fleet(up('gpu-0', 4)), kept('r', elsewhere, 1))).toMatch(/no engine that could hold it is up/);
  });
});

test('whatever happens, a load of ours leaves room for all that is kept, and what is reserved is there in the end', () => {
  for (const seed of seeds(5)) new Turmoil(seed).run(1500);
});

/** Engines that do as they are told, and come and go; requests and reservations at random. */
class Turmoil {
  readonly #seed: number;
  readonly #random: Random;
  readonly #router = new Router({ ...OPTIONS, waitMsMax: 1e9 });
  readonly #moves: RouterEvent[] = [];
  readonly #running: TicketId[] = [];
  #now = 0;
  #tickets = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seeded(seed);
  }

  run(turns: number): void {
    for (let turn = 0; turn < turns; turn++) {
      this.#now += this.#random.below(200);
      this.#feed(this.#event());
    }
    for (const name of GPUS) this.#feed(this.#up(name));
    while (this.#moves.length + this.#running.length > 0) {
      this.#now += 1000;
      this.#feed(this.#running.length > 0 ? this.#end() : this.#move());
      this.#feed({ type: 'tick' });
    }
    const { state } = this.#router;
    for (const { id, for: what } of state.reservations.values())
      for (const { backend } of what.kind === 'adapter' ? keptFor(state, id) : [])
        this.#law(`${id} is loaded`, what.kind === 'adapter' && isReady(backend.held.get(what.target.adapter)));
  }

  #law(what: string, holds: boolean): void {
    expect(holds, `seed ${this.#seed}: ${what}`).toBe(true);
  }

  #event(): RouterEvent {
    const random = this.#random;
    const some = random.below(100);
    if (some < 40) {
      const [ticket, tenant] = [as<TicketId>(++this.#tickets), as<TenantId>('')];
      return {
        type: 'arrived',
        ticket,
        target: this.#target(),
        class: random.pick(CLASSES),
        tenant,
        affinity: undefined,
      };
    }
    if (some < 65 && this.#running.length > 0) return this.#end();
    if (some < 85 && this.#moves.length > 0) return this.#move();
    if (some < 88) return this.#reserve();
    if (some < 90) return { type: 'released', reservation: as(`r${random.below(4)}`) };
    const backend = random.pick(GPUS);
    if (some < 92) return this.#down(backend);
    if (some < 96) return this.#up(backend);
    if (some < 98) return { type: 'published', model: as('m'), checkpoint: as('c'), target: this.#target('m') };
    return { type: 'tick' };
  }

  #target(model = this.#random.pick(['m', 'n'])): AdapterTarget {
    const adapter = as<AdapterId>(`${model}@${this.#random.below(6)}`);
    return { kind: 'adapter', adapter, model: as(model), base: as('base'), rank: 8 };
  }

  #reserve(): RouterEvent {
    const random = this.#random;
    const of = { model: as<ModelName>('m'), base: as<BaseName>('base') };
    const what = random.pick<ReservedFor>([
      { kind: 'adapter', target: this.#target() },
      { kind: 'model', ...of },
      { kind: 'latest', ...of, newest: this.#target('m') },
      { kind: 'class', class: random.pick(CLASSES) },
    ]);
    const reservation: Reservation = { id: as(`r${random.below(4)}`), for: what, slots: 1 + random.below(2) };
    return refusal(this.#router.state, reservation, () => '')
      ? { type: 'released', reservation: reservation.id }
      : { type: 'reserved', reservation };
  }

  #up(backend: BackendName): RouterEvent {
    if (this.#router.state.backends.get(backend)?.up) return { type: 'tick' };
    return { type: 'backendUp', backend, bases: [as('base')], slots: 3, rankMax: undefined, adapters: [] };
  }

  #down(backend: BackendName): RouterEvent {
    for (const [at, move] of [...this.#moves.entries()].reverse())
      if ('backend' in move && move.backend === backend) this.#moves.splice(at, 1);
    return { type: 'backendDown', backend };
  }

  #end(): RouterEvent {
    const [ticket] = this.#running.splice(this.#random.below(this.#running.length), 1);
    return { type: 'ended', ticket: ticket ?? as(0), outcome: 'done' };
  }

  #move(): RouterEvent {
    const [move] = this.#moves.splice(this.#random.below(this.#moves.length), 1);
    return move ?? { type: 'tick' };
  }

  #feed(event: RouterEvent): void {
    const { state } = this.#router;
    const effects = this.#router.step(event, this.#now);
    // Then what `latest` leads to is another one since, and so is what fills the slots that are kept for it.
    const isMoved = effects.some(({ type }) => type === 'promote');
    for (const effect of effects) {
      if (effect.type === 'dispatch') this.#running.push(effect.ticket);
      if (effect.type === 'unload') this.#moves.push({ ...effect, type: 'unloaded' });
      if (effect.type !== 'load') continue;
      this.#moves.push({ ...effect, type: 'loaded' });
      const backend = state.backends.get(effect.backend);
      if (backend === undefined || isMoved) continue;
      // What is on its way out counts as there: whether it might go is judged when something else comes in its place.
      const empty = unfilled(state, keptOn(state, backend).keeps, [...backend.held.values()]);
      this.#law(`${effect.adapter} leaves room on ${backend.name}`, backend.held.size + empty <= backend.slots);
    }
    for (const { name, held, slots } of state.backends.values()) this.#law(`${name}: slots`, held.size <= slots);
  }
}

const GPUS = ['gpu-0', 'gpu-1'].map((name) => as<BackendName>(name));
