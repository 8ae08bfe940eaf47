// A database file of every version that was ever written opens, and nothing in it is lost. `schemas/N.sql` is what version N wrote.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { Database } from '../../src/registry/database.ts';
import { MIGRATIONS } from '../../src/registry/migrations.ts';
import { scratch } from './fixtures.ts';

const DIRECTORY = join(import.meta.dirname, 'schemas');

function opened(version: number): Database {
  const file = join(scratch(), 'registry.sqlite');
  const db = new DatabaseSync(file);
  db.exec(readFileSync(join(DIRECTORY, `${version}.sql`), 'utf8'));
  db.close();
  return new Database({ file, pathOf: (digest) => `/store/${digest}` });
}

test('each version of the schema has its file', () => {
  expect(readdirSync(DIRECTORY).sort()).toEqual(MIGRATIONS.map((_, index) => `${index + 1}.sql`));
});

test.each(MIGRATIONS.map((_, index) => index + 1))('version %i opens with every row it had', (version) => {
  const database = opened(version);
  expect(
    database.checkpoints().map(({ id, name, step, revision, adapter, base, state, createdAtMs }) => ({
      is: `${id} ${name} ${step} ${revision}`,
      adapter: adapter && `${adapter.id} ${adapter.digest.slice(0, 4)} ${adapter.bytes} ${adapter.rank}`,
      base,
      state,
      createdAtMs,
    })),
  ).toEqual([
    {
      is: 'id-1 m@5 5 1',
      adapter: 'm@5 aaaa 100 8',
      base: undefined,
      state: { kind: 'servable' },
      createdAtMs: 1700000000000,
    },
    {
      is: 'id-2 m@5 5 2',
      adapter: 'm@5-bbbbbbbb bbbb 100 8',
      base: undefined,
      state: { kind: 'servable' },
      createdAtMs: 1700000001000,
    },
    {
      is: 'id-3 m@6 6 1',
      adapter: 'm@6 cccc 100 8',
      base: 'base',
      state: { kind: 'deleted', atMs: 1700000009000 },
      createdAtMs: 1700000002000,
    },
    {
      is: 'id-4 m@7 7 1',
      adapter: undefined,
      base: undefined,
      state: { kind: 'unservable', reasons: ['It is DoRA.'] },
      createdAtMs: 1700000003000,
    },
    {
      is: 'id-5 org/x@rev undefined 1',
      adapter: 'org/x@rev aaaa 100 8',
      base: undefined,
      state: { kind: 'servable' },
      createdAtMs: 1700000004000,
    },
  ]);
  expect([...database.promoted()]).toEqual([['m', 'id-1']]);
  expect(database.seen('m@5' as never, '/runs/m/checkpoint-5')).toBe('1:2:3 4:5:6');
  database.close();
});

test('from version 2 on: details, aliases, their history and pins', () => {
  for (let version = 2; version <= MIGRATIONS.length; version++) {
    const database = opened(version);
    expect(database.checkpoints()[0]).toMatchObject({
      details: { metrics: { eval_loss: 0.5 }, architecture: 'LlamaForCausalLM', library: 'peft 0.17.1' },
      warnings: ['Its base has another name.'],
    });
    expect(database.aliases()).toEqual([
      { model: 'm', alias: 'champion', step: 5, movedAtMs: 1700000005000, by: 'ann' },
    ]);
    expect(database.history('m' as never, 10)).toEqual([
      { model: 'm', alias: 'champion', from: undefined, to: 5, atMs: 1700000005000, by: 'ann' },
    ]);
    expect(database.pins()).toMatchObject([{ id: 'p1', from: 5, to: 40, steps: undefined, untilMs: 1700000099000 }]);
    database.close();
  }
});

test('from version 4 on: keys and the audit log', () => {
  for (let version = 4; version <= MIGRATIONS.length; version++) {
    const database = opened(version);
    expect(database.keys()).toMatchObject([{ id: 'k1', name: 'ci', scopes: ['use'], models: ['m'], perMinute: 60 }]);
    expect(database.audit({ limit: 9 })).toMatchObject([{ id: 1, who: 'k1 (ci)', status: 201, before: undefined }]);
    database.close();
  }
});

test('from version 3 on: reservations', () => {
  for (let version = 3; version <= MIGRATIONS.length; version++) {
    const database = opened(version);
    expect(database.reservations()).toMatchObject([
      { id: 'r1', kind: 'latest', name: 'm', slots: 2, owner: 'trainer', untilMs: undefined },
    ]);
    database.close();
  }
});

test('from version 5 on: cordons', () => {
  for (let version = 5; version <= MIGRATIONS.length; version++) {
    const database = opened(version);
    expect(database.cordons()).toEqual([{ backend: 'gpu-0', who: 'ops', sinceMs: 1700000009000 }]);
    database.close();
  }
});

test('from version 6 on: added backends, engines of its own', () => {
  for (let version = 6; version <= MIGRATIONS.length; version++) {
    const database = opened(version);
    expect(database.backends()).toEqual([
      { name: 'gpu-7', settings: { url: 'http://127.0.0.1:8107', kind: 'vllm' }, who: 'ops', sinceMs: 1700000010000 },
    ]);
    expect(database.engines()).toMatchObject([
      { name: 'mine', phase: 'serving', process: { pid: 77, born: 'boot 123' } },
    ]);
    database.close();
  }
});
