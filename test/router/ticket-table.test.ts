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
