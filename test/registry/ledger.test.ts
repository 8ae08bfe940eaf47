// Memory, disk and news in step: what the disk refuses never happened, and what is asked for together is written together.
import { describe, expect, test } from 'vitest';
import { StepgateError } from '../../src/errors.ts';
import { Catalog } from '../../src/registry/catalog.ts';
import { Ledger, type Writing } from '../../src/registry/ledger.ts';
import type { RegistryChange } from '../../src/registry/registry.ts';
import type { Change, Store } from '../../src/registry/store.ts';
import { checkpoint } from './fixtures.ts';
import { MemoryPlace } from './memory-store.ts';

function setUp() {
  const disk = { full: false };
  const commits: (readonly Change[])[] = [];
  const memory = new MemoryPlace().open();
  const rows: Store = {
    ...memory,
    commit(changes) {
      if (disk.full) throw new StepgateError('storage_full', 'full');
      memory.commit(changes);
      commits.push(changes);
    },
  };
  const catalog = new Catalog();
  const told: RegistryChange[] = [];
  const ledger = new Ledger({ catalog, rows, nowMs: () => 1, tell: (change) => told.push(change) });
  const adding = (step: number): Writing<number> => ({
    model: checkpoint('m', step).model,
    who: 'test',
    apply: () => {
      const one = checkpoint('m', step);
      if (catalog.find(one.name)) throw new Error('twice');
      catalog.put(one);
      return {
        value: step,
        changes: [{ kind: 'added', checkpoint: one, sighting: { name: one.name, source: '/runs', signature: '1' } }],
        news: [{ kind: 'registered', checkpoint: one, replaced: undefined }],
        undo: () => catalog.forget(one),
      };
    },
  });
  return { disk, rows, commits, catalog, told, ledger, adding };
}

describe('the ledger', () => {
  test('writes a change with the move that it causes, then tells both', () => {
    const { ledger, adding, rows, told } = setUp();
    expect(ledger.write(adding(5))).toBe(5);
    expect(rows.history('m' as never, 9)).toEqual([
      { model: 'm', alias: 'latest', from: undefined, to: 5, atMs: 1, by: 'test' },
    ]);
    expect(told.map(({ kind }) => kind)).toEqual(['registered', 'moved']);
  });

  test('what the disk refuses never happened: not in memory, not in the news; later it works', async () => {
    const { ledger, adding, disk, catalog, told } = setUp();
    disk.full = true;
    expect(() => ledger.write(adding(5))).toThrow('full');
    const soon = await Promise.allSettled([ledger.writeSoon(adding(5)), ledger.writeSoon(adding(6))]);
    expect(soon.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect([catalog.models(), told]).toEqual([[], []]);
    disk.full = false;
    expect(await ledger.writeSoon(adding(5))).toBe(5);
    expect(catalog.latest('m')?.step).toBe(5);
  });

  test('what is asked for in one turn is one commit; one that cannot be applied fails alone', async () => {
    const { ledger, adding, commits, catalog } = setUp();
    const asked = [5, 6, 6, 7].map((step) => ledger.writeSoon(adding(step)));
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(commits).toHaveLength(1);
    expect(catalog.checkpoints('m').map(({ step }) => step)).toEqual([5, 6, 7]);
  });
});
