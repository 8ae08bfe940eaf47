import { expect, test } from 'vitest';
import { as, type TicketId } from '../../src/domain.ts';
import { TicketTable } from '../../src/ticket-table.ts';
import { seeded, seeds } from '../random.ts';

test.each(seeds(5))('a table of tickets holds what a Map would (seed %i)', (seed) => {
  const random = seeded(seed);
  const table = new TicketTable<string>();
  const map = new Map<TicketId, string>();
  for (let event = 0; event < 5000; event++) {
    const id = as<TicketId>(random.below(50) * 1_000_003);
    if (random.chance(0.5)) {
      table.set(id, `row ${event}`);
      map.set(id, `row ${event}`);
    } else {
      table.delete(id);
      map.delete(id);
    }
    expect(table.size).toBe(map.size);
    expect(table.get(id)).toBe(map.get(id));
  }
  const byTicket = [...map].sort(([a], [b]) => a - b).map(([, row]) => row);
  expect(table.values()).toEqual(byTicket);
});

test.each(seeds(3))(
  'tickets that count up, of which some stay, are all there, in order, until they go (seed %i)',
  (seed) => {
    const random = seeded(seed);
    const table = new TicketTable<number>();
    const live = new Set<number>();
    for (let ticket = 0; ticket < 20_000; ticket++) {
      table.set(as<TicketId>(ticket), ticket);
      live.add(ticket);
      for (const one of [...live].slice(0, 3)) {
        if (one < ticket - 600 && random.chance(0.5)) continue;
        if (random.chance(0.9)) {
          table.delete(as<TicketId>(one));
          live.delete(one);
        }
      }
    }
    expect(table.size).toBe(live.size);
    expect(table.values()).toEqual([...live]);
    for (const one of live) table.delete(as<TicketId>(one));
    expect([table.size, table.values(), table.get(as<TicketId>(19_999))]).toEqual([0, [], undefined]);
  },
);
