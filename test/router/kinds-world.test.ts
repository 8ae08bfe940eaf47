// A seeded world of engines that cannot do everything: whatever happens, nobody is given to one that lacks the route, the files or the name;
// everybody's wait ends, and no engine is given more than it has slots for.
import { expect, test } from 'vitest';
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { Router } from '../../src/router/router.ts';
import { seeded, seeds } from '../random.ts';
import { OPTIONS } from './transcript.ts';

const CHAT = '/chat';
const ROUTES = [CHAT, CHAT, CHAT, '/tokenize'];
const KINDS = {
  'gpu-0': { slots: 2, models: undefined, routes: undefined },
  'gpu-1': { slots: 1, models: undefined, routes: undefined },
  lite: { slots: 2, models: undefined, routes: new Set([CHAT]) },
  service: { slots: 1000, models: new Set(['m']), routes: new Set([CHAT]) },
} as const;
type Name = keyof typeof KINDS;
const NAMES = Object.keys(KINDS) as Name[];

/** Every fourth of `m` has no files; `n` is unknown to the service. */
const TARGETS = Array.from({ length: 12 }, (_, index) => {
  const model = index % 3 === 2 ? 'n' : 'm';
  return {
    kind: 'adapter',
    adapter: `${model}@${index}`,
    model,
    base: 'base',
    rank: 8,
    hosted: index % 4 === 0 && model === 'm',
  };
});

interface Asked {
  readonly target: (typeof TARGETS)[number];
  readonly route: string;
  on?: Name | undefined;
}

class World {
  readonly #random;
  readonly #router = new Router(OPTIONS);
  readonly #agenda: { at: number; event: () => RouterEvent | undefined }[] = [];
  readonly asked = new Map<number, Asked>();
  readonly #held = new Map<Name, Set<string>>(NAMES.map((name) => [name, new Set()]));
  readonly #life = new Map<Name, number>();
  dispatched = 0;
  /** Who waited for as long as anybody may. */
  tooLong = 0;
  #tickets = 0;
  #now = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(seed: number) {
    this.#random = seeded(seed);
    for (const name of NAMES) this.#up(name);
  }

  #up(name: Name): void {
    this.#life.set(name, (this.#life.get(name) ?? 0) + 1);
    this.#feed({
      type: 'backendUp',
      backend: name,
      bases: ['base'],
      rankMax: undefined,
      runningMax: 4,
      adapters: [],
      ...KINDS[name],
    } as never);
  }

  #down(name: Name): void {
    this.#life.set(name, (this.#life.get(name) ?? 0) + 1);
    this.#held.get(name)?.clear();
    this.#feed({ type: 'backendDown', backend: name } as never);
    for (const [ticket, asked] of this.asked) if (asked.on === name) this.#end(ticket, 'refused');
    this.#later(this.#random.below(500), () => {
      this.#up(name);
      return undefined;
    });
  }

  #later(ms: number, event: () => RouterEvent | undefined): void {
    this.#agenda.push({ at: this.#now + 1 + ms, event });
  }

  #end(ticket: number, outcome: string): void {
    const asked = this.asked.get(ticket);
    if (asked?.on === undefined) return;
    if (outcome === 'done') this.asked.delete(ticket);
    asked.on = undefined;
    this.#feed({ type: 'ended', ticket, outcome } as never);
  }

  /** What it told of this life of the engine alone. */
  #during(name: Name, event: object): () => RouterEvent | undefined {
    const life = this.#life.get(name);
    return () => (this.#life.get(name) === life ? (event as RouterEvent) : undefined);
  }

  #feed(event: RouterEvent): void {
    for (const effect of this.#router.step(event, this.#now)) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    if (effect.type === 'wakeAt') this.#wakeAt = effect.at;
    if (effect.type === 'reject' && /^no (slot|room)/.test(effect.message)) this.tooLong++;
    if (effect.type === 'reject')
      expect(this.asked.delete(effect.ticket), `ticket ${effect.ticket} ended twice`).toBe(true);
    if (effect.type === 'dispatch') this.#dispatched(effect.ticket, effect.backend as string as Name);
    if (effect.type !== 'load' && effect.type !== 'unload') return;
    const [name, adapter] = [effect.backend as string as Name, effect.adapter as string];
    const held = this.#held.get(name) ?? new Set();
    if (effect.type === 'load') {
      held.add(adapter);
      expect(held.size, `slots of ${name}`).toBeLessThanOrEqual(KINDS[name].slots);
      const failed = this.#random.chance(0.05);
      const said = { type: failed ? 'loadFailed' : 'loaded', backend: name, adapter, fault: 'backend', message: 'no' };
      const tell = this.#during(name, said);
      this.#later(this.#random.below(30), () => {
        const event = tell();
        if (event !== undefined && failed) held.delete(adapter);
        return event;
      });
    } else {
      const tell = this.#during(name, { type: 'unloaded', backend: name, adapter });
      this.#later(this.#random.below(10), () => {
        const event = tell();
        if (event !== undefined) held.delete(adapter);
        return event;
      });
    }
  }

  #dispatched(ticket: number, name: Name): void {
    const asked = this.asked.get(ticket);
    if (asked === undefined || asked.on !== undefined) throw new Error(`ticket ${ticket} runs twice`);
    const { models, routes } = KINDS[name];
    const { target, route } = asked;
    expect(routes?.has(route as never) ?? true, `${name} lacks ${route}`).toBe(true);
    expect(
      models === undefined ? !target.hosted : models.has(target.model as never),
      `${name} for ${target.adapter}`,
    ).toBe(true);
    expect(this.#held.get(name)?.has(target.adapter), `${target.adapter} on ${name}`).toBe(true);
    asked.on = name;
    this.dispatched++;
    this.#later(this.#random.below(60), () => {
      if (asked.on === name) this.#end(ticket, 'done');
      return undefined;
    });
  }

  pass(until: number): void {
    for (;;) {
      this.#agenda.sort((a, b) => b.at - a.at);
      const next = this.#agenda.at(-1)?.at ?? Number.POSITIVE_INFINITY;
      if (Math.min(next, this.#wakeAt) > until) break;
      if (this.#wakeAt <= next) {
        this.#now = this.#wakeAt;
        this.#wakeAt = Number.POSITIVE_INFINITY;
        this.#feed({ type: 'tick' });
        continue;
      }
      this.#now = next;
      const event = this.#agenda.pop()?.event();
      if (event !== undefined) this.#feed(event);
    }
    this.#now = until;
  }

  live(events: number): void {
    for (let at = 0; at < events; at++) {
      this.pass(this.#now + this.#random.below(8));
      if (this.#random.chance(0.005)) {
        const name = this.#random.pick(NAMES);
        if (this.#router.state.backends.get(name as never)?.up) this.#down(name);
        continue;
      }
      const ticket = ++this.#tickets;
      const [target, route] = [this.#random.pick(TARGETS), this.#random.pick(ROUTES)];
      this.asked.set(ticket, { target, route });
      const kind = this.#random.pick(['interactive', 'rollout', 'eval']);
      this.#feed({ type: 'arrived', ticket, target, route, class: kind, tenant: '', affinity: undefined } as never);
    }
    this.pass(this.#now + 3 * OPTIONS.waitMsMax);
  }
}

test.each(seeds(20))('routes, files and names are kept to, and every wait ends (seed %i)', (seed) => {
  const world = new World(seed);
  world.live(2_000);
  expect([...world.asked]).toEqual([]);
  expect(world.dispatched).toBeGreaterThan(500);
  expect(world.tooLong).toBe(0);
});
