// Promise: what is kept for somebody, until it is taken away, has a bound; at the bound the last one is taken, and one more is told so.
import { expect, onTestFinished, test } from 'vitest';
import { Keys } from '../../src/access/keys.ts';
import { as, type Checkpoint } from '../../src/domain.ts';
import { Catalog } from '../../src/registry/catalog.ts';
import { Pins } from '../../src/registry/pins.ts';
import type { KeyRow, Pin, ReservationRow } from '../../src/registry/store.ts';
import { setUp } from '../gateway/harness.ts';
import { MemoryPlace } from '../registry/memory-store.ts';
import { told } from './house.ts';

const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));
const send = (url: string, method: string, body: unknown) => fetch(url, { method, body: JSON.stringify(body) });

test('100,000 keys', () => {
  const rows = new MemoryPlace().open();
  const asked = { name: 'ci', scopes: ['use'] as const, models: ['*'] };
  const made = new Keys({ rows, nowMs: () => 1, onChange: () => {} }).create(asked);
  const { key: _, ...row } = made;
  rows.commit(many(99_998, (at) => ({ kind: 'keyed', key: { ...row, id: `${at}` } satisfies KeyRow })));
  const keys = new Keys({ rows, nowMs: () => 1, onChange: () => {} });
  keys.create(asked);
  expect(() => keys.create(asked)).toThrow('100000 keys');
});

test('10,000 pins', () => {
  const rows = new MemoryPlace().open();
  const catalog = new Catalog();
  const model = as<Pin['model']>('my-model');
  catalog.setModel(model, { latest: 'published' });
  const pin: Pin = {
    id: '',
    model,
    from: 1,
    to: 2,
    steps: undefined,
    owner: 'ann',
    createdAtMs: 1,
    untilMs: undefined,
  };
  rows.commit(many(9_999, (at) => ({ kind: 'pinned', pin: { ...pin, id: `${at}` } })));
  const pins = new Pins({ catalog, rows, nowMs: () => 1 });
  const asked = { model: 'my-model', steps: { from: 1, to: 2 }, owner: 'ann', ttlMs: undefined };
  pins.add(asked);
  expect(() => pins.add(asked)).toThrow('10000 pins');
});

test('1,000 reservations', async () => {
  const first = await setUp({ latest: 'published' });
  const row = (at: number): ReservationRow => ({
    ...{
      id: `r${at}`,
      kind: 'model',
      name: 'not-there',
      slots: 1,
      owner: `${at}`,
      createdAtMs: at,
      untilMs: undefined,
    },
  });
  first.running.gateway.registry.others.commit(many(999, (at) => ({ kind: 'reserved', reservation: row(at) })));
  const house = await first.restart();
  const reserve = (owner: string) =>
    send(`${house.running.adminUrl}/admin/v1/reservations`, 'POST', { for: { class: 'eval' }, owner, slots: 1 });
  expect((await reserve('ann')).status).toBe(201);
  const over = await told(reserve('bob'));
  expect(over).toMatchObject({ status: 409, code: 'conflict' });
  expect(over.message).toContain('1000 reservations');
});

test('1,000 sweeps at once', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  const checkpoint = house.running.gateway.registry.catalog.find('my-model@5') as Checkpoint;
  const { sweeps } = house.running.gateway;
  const announce = () =>
    sweeps.announce({ model: checkpoint.model, steps: [{ checkpoint, requests: 1 }], owner: 'ann', ttlMs: 60_000 });
  many(1_000, announce);
  expect(announce).toThrow('1000 sweeps');
});

test('500 metrics of a checkpoint, 10,000 steps in one pin, and 200 characters of a name', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  const { adminUrl } = house.running;
  const checkpoint = `${adminUrl}/admin/v1/models/my-model/checkpoints/5`;
  const { metrics } = (await (await fetch(checkpoint)).json()) as { metrics: Record<string, number> };
  const room = 500 - Object.keys(metrics).length;
  const patch = (names: string[]) =>
    send(checkpoint, 'PATCH', { metrics: Object.fromEntries(names.map((name) => [name, 1])) });
  expect((await patch(many(room, (at) => `m${at}`))).status).toBe(200);
  expect((await patch(['one-more'])).status).toBe(400);
  const pin = (count: number) =>
    send(`${adminUrl}/admin/v1/pins`, 'POST', { model: 'my-model', owner: 'ann', steps: many(count, (at) => at) });
  expect((await pin(10_000)).status).toBe(201);
  expect((await pin(10_001)).status).toBe(400);
  const register = (characters: number) =>
    send(`${adminUrl}/admin/v1/checkpoints`, 'POST', {
      name: 'x'.repeat(characters),
      path: house.running.gateway.registry.catalog.find('my-model@5')?.source,
    });
  expect((await register(200)).status).toBe(201);
  expect((await register(201)).status).toBe(400);
});

test('100 listeners to events', async () => {
  const house = await setUp();
  const leaving = new AbortController();
  onTestFinished(() => leaving.abort());
  const listen = () => fetch(`${house.running.adminUrl}/admin/v1/events`, { signal: leaving.signal });
  const all = await Promise.all(many(100 - house.running.gateway.journal.listeners, listen));
  expect(all.every(({ status }) => status === 200)).toBe(true);
  expect(await told(listen())).toMatchObject({ status: 429, code: 'no_capacity' });
});
