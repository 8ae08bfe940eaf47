// What one decision of the router costs as the fleet, the adapters it knows and the requests that wait grow. Real time, no engines: slots stay
// busy, requests end and arrive in turn. Medians of five rounds; the growth is the result, the microseconds belong to the machine.
import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  type ModelName,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { seeded } from '../../test/random.ts';
import { stepgate } from './schedulers/stepgate.ts';
import type { Scheduler } from './types.ts';

const BASE = as<BaseName>('base');
const MODEL = as<ModelName>('m');
const TENANT = as<TenantId>('');
const SLOTS = 8;
const [ROUNDS, EVENTS] = [5, 400];
const backend = (index: number): BackendName => as<BackendName>(`gpu-${index}`);

interface Scale {
  readonly backends: number;
  readonly adapters: number;
  readonly waiting: number;
}

/** A fleet whose slots are all taken, and so many requests waiting for adapters that none holds. */
class Busy {
  readonly #scheduler: Scheduler;
  readonly #running: TicketId[] = [];
  readonly #random = seeded(1);
  #now = 0;
  #tickets = 0;

  constructor({ backends, adapters, waiting }: Scale) {
    this.#scheduler = stepgate.create({ backends, slots: SLOTS, loadMs: 131, seed: 1 });
    const held = backends * SLOTS;
    for (let index = 0; index < backends; index++) {
      const mine = Array.from({ length: SLOTS }, (_, slot) => as<AdapterId>(`m@${index * SLOTS + slot}`));
      this.#step({
        type: 'backendUp',
        backend: backend(index),
        bases: [BASE],
        slots: SLOTS,
        rankMax: undefined,
        adapters: mine,
      });
    }
    for (let index = 0; index < 3 * held; index++) this.#arrive(index % held);
    for (let index = 0; index < waiting; index++) this.#arrive(held + (index % Math.max(1, adapters - held)));
  }

  #step(event: RouterEvent): void {
    for (const effect of this.#scheduler.step(event, this.#now)) this.#note(effect);
  }

  #note(effect: Effect): void {
    if (effect.type === 'dispatch') this.#running.push(effect.ticket);
  }

  #arrive(adapter: number): void {
    const target = {
      kind: 'adapter',
      adapter: as<AdapterId>(`m@${adapter}`),
      model: MODEL,
      base: BASE,
      rank: 32,
    } as const;
    const ticket = as<TicketId>(++this.#tickets);
    this.#step({ type: 'arrived', class: 'rollout', tenant: TENANT, affinity: undefined, ticket, target });
  }

  /** One request ends, another arrives for what is held: two decisions. */
  turn(held: number): void {
    this.#now += 0.01;
    const ended = this.#running.splice(this.#random.below(this.#running.length), 1)[0];
    if (ended !== undefined) this.#step({ type: 'ended', ticket: ended, outcome: 'done' });
    this.#arrive(this.#random.below(held));
  }
}

function decisionUs(scale: Scale): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const busy = new Busy(scale);
    for (let event = 0; event < EVENTS / 4; event++) busy.turn(scale.backends * SLOTS);
    const started = performance.now();
    for (let event = 0; event < EVENTS / 2; event++) busy.turn(scale.backends * SLOTS);
    return (1000 * (performance.now() - started)) / EVENTS;
  });
  return rounds.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
}

console.log('backends  adapters   waiting   us per decision');
for (const scale of [
  { backends: 4, adapters: 1000, waiting: 0 },
  { backends: 4, adapters: 1000, waiting: 100 },
  { backends: 4, adapters: 1000, waiting: 1000 },
  { backends: 16, adapters: 1000, waiting: 1000 },
  { backends: 64, adapters: 1000, waiting: 0 },
  { backends: 64, adapters: 1000, waiting: 100 },
  { backends: 64, adapters: 1000, waiting: 1000 },
]) {
  const cells = [scale.backends, scale.adapters, scale.waiting].map((cell) => String(cell).padStart(8)).join('  ');
  console.log(`${cells}  ${decisionUs(scale).toFixed(1).padStart(16)}`);
}
