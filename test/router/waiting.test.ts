// The promises of one line's queue: first come first served for one tenant, turns for several, urgency before turns.
import { describe, expect, test } from 'vitest';
import { as, CLASSES, type RequestClass, type TenantId, type TicketId } from '../../src/domain.ts';
import type { Ticket } from '../../src/router/state.ts';
import { Waiting } from '../../src/router/waiting.ts';
import { seeded, seeds } from '../random.ts';

let order = 0;

function ticket(
  tenant: string,
  { at = 0, class: kind = 'rollout' }: { at?: number; class?: RequestClass } = {},
): Ticket {
  const id = as<TicketId>(++order);
  return {
    ...{ id, order, class: kind, tenant: as<TenantId>(tenant), affinity: undefined, near: undefined },
    ...{ arrivedAt: at, since: at, turn: undefined, attempts: 0, sentBackBy: undefined, place: { kind: 'waiting' } },
    target: { kind: 'base', base: as('base') },
  };
}

/** Takes the next one out, as if it ran. */
function serve(waiting: Waiting): Ticket | undefined {
  const [next] = waiting;
  if (next !== undefined) waiting.remove(next, true);
  return next;
}

const add = (waiting: Waiting, one: Ticket): Ticket => {
  waiting.add(one, one.arrivedAt);
  return one;
};

describe('a line', () => {
  test('one tenant is served first come, first served, whatever leaves in between', () => {
    const seed = seeds(1)[0] ?? 1;
    const random = seeded(seed);
    const waiting = new Waiting();
    const expected: Ticket[] = [];
    const [served, due]: [Ticket[], Ticket[]] = [[], []];
    for (let step = 0; step < 3000; step++) {
      if (random.chance(0.5)) expected.push(add(waiting, ticket('a', { at: step })));
      else if (random.chance(0.2) && expected.length > 0) {
        const [left] = expected.splice(random.below(expected.length), 1);
        if (left !== undefined) waiting.remove(left, false);
      } else {
        served.push(...[serve(waiting)].filter((one) => one !== undefined));
        due.push(...expected.splice(0, 1));
      }
    }
    expect(served, `seed ${seed}`).toEqual(due);
    expect(waiting.length, `seed ${seed}`).toBe(expected.length);
  });

  test('a thousand requests of one tenant delay the one of another by one turn, whenever it comes', () => {
    for (const already of [0, 1, 500, 998]) {
      const waiting = new Waiting();
      for (let count = 0; count < 1000; count++) add(waiting, ticket('a'));
      for (let count = 0; count < already; count++) serve(waiting);
      const other = add(waiting, ticket('b', { at: 10 }));
      const next = [serve(waiting), serve(waiting)];
      expect(next).toContain(other);
    }
  });

  test('while a tenant waits, no other has more than two turns more than it', () => {
    const seed = seeds(1)[0] ?? 1;
    const random = seeded(seed);
    const waiting = new Waiting();
    /** Turns of each since any moment, less those of "a": at its highest above its lowest so far. */
    const ahead = new Map<string, { now: number; lowest: number }>();
    let waits = 0;
    for (let step = 0; step < 20_000; step++) {
      for (; waits < 3; waits++) add(waiting, ticket('a', { at: step })); // "a" always waits; the others come in bursts
      const burst = random.chance(0.1) ? random.below(30) : 0;
      const who = `t${random.below(5)}`;
      for (let one = 0; one < burst; one++) add(waiting, ticket(who, { at: step }));
      if (!ahead.has(who)) ahead.set(who, { now: 0, lowest: 0 });
      const tenant = serve(waiting)?.tenant ?? '';
      if (tenant === 'a') waits--;
      for (const [other, lead] of ahead) {
        if (tenant === 'a') lead.now--;
        if (tenant === other) lead.now++;
        lead.lowest = Math.min(lead.lowest, lead.now);
        expect(lead.now - lead.lowest, `seed ${seed}, step ${step}: ${other}`).toBeLessThanOrEqual(2);
      }
    }
  });

  test('when nobody waits any more, nobody is owed anything', () => {
    const waiting = new Waiting();
    for (let count = 0; count < 100; count++) {
      add(waiting, ticket('a'));
      serve(waiting);
    }
    const first = add(waiting, ticket('a', { at: 5 }));
    const second = add(waiting, ticket('b', { at: 5 }));
    expect([serve(waiting), serve(waiting)]).toEqual([first, second]);
    expect(first.since).toBe(5);
  });

  test('more urgent classes come first, and who falls due soonest is known', () => {
    const waiting = new Waiting();
    const [evaluation, rollout, interactive] = [...CLASSES]
      .reverse()
      .map((kind) => add(waiting, ticket('a', { class: kind })));
    const after = { interactive: 1000, rollout: 500, eval: 2000 };
    expect(waiting.firstDue(after)).toEqual({ ticket: rollout, dueAt: 500 });
    expect(waiting.firstDue(after, 1500)?.dueAt).toBe(1500);
    expect([...waiting]).toEqual([interactive, rollout, evaluation]);
  });

  test('a request that was sent back comes before those that have not run', () => {
    const waiting = new Waiting();
    const first = add(waiting, ticket('a'));
    for (let count = 0; count < 5; count++) add(waiting, ticket('a'));
    serve(waiting);
    first.attempts = 1;
    add(waiting, first);
    expect(serve(waiting)).toBe(first);
  });
});
