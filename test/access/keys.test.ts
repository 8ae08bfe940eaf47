// Keys and the meter, without a gateway: what counts, until when, and how much of it.
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { type KeyRequest, Keys } from '../../src/access/keys.ts';
import { Meter } from '../../src/access/meter.ts';
import { readKey, withoutSecrets } from '../../src/access/secret.ts';
import type { AccessRows } from '../../src/registry/store.ts';
import { MemoryPlace } from '../registry/memory-store.ts';

const HOUR_MS = 3_600_000;
const asked: KeyRequest = { name: 'ci', scopes: ['use'], models: ['*'] };

let rows: AccessRows;
let nowMs: number;
let changes: number;
const open = () => new Keys({ rows, nowMs: () => nowMs, onChange: () => changes++ });

beforeEach(() => {
  rows = new MemoryPlace().open();
  nowMs = 1_000_000;
  changes = 0;
});

describe('a key', () => {
  test('is told once, and kept as the digest of its secret alone', () => {
    const { key, digest } = open().create(asked);
    expect(key).toMatch(/^sg_[0-9a-f]{12}\.[\w-]{43}$/);
    const [, secret = ''] = key.split('.');
    expect(createHash('sha256').update(secret).digest('hex')).toBe(digest);
    expect(JSON.stringify(rows.keys())).not.toContain(secret);
  });

  test('counts bare and as a bearer, after a restart too, and nothing that is nearly it does', () => {
    const { key, id } = open().create(asked);
    const keys = open();
    for (const text of [key, `Bearer ${key}`, `bearer  ${key}`]) expect(keys.find(text)?.row.id).toBe(id);
    const other = open().create(asked).key;
    const wrong = [
      '',
      'none',
      `Basic ${key}`,
      key.slice(0, -1),
      `${key}x`,
      `sg_${id}.${other.split('.')[1]}`,
      `sg_${'0'.repeat(12)}.${key.split('.')[1]}`,
    ];
    for (const text of wrong) expect(keys.find(text), text).toBeUndefined();
  });

  test('ends when its time is over, or when it is revoked, for good', () => {
    const keys = open();
    const short = keys.create({ ...asked, ttlMs: 1_000 });
    const revoked = keys.create(asked);
    expect(keys.find(short.key)?.untilMs).toBe(nowMs + 1_000);
    keys.revoke(revoked.id);
    nowMs += 1_000;
    expect([keys.find(short.key), keys.find(revoked.key), open().find(revoked.key)]).toEqual(Array(3).fill(undefined));
    expect(() => keys.revoke(revoked.id)).toThrow('revoked already');
    expect(() => keys.rotate(revoked.id, 0)).toThrow('revoked already');
    expect(() => keys.revoke('nobody')).toThrow('there is no key');
  });

  test('that is rotated counts with both secrets for the time of grace, and without grace with the new one alone', () => {
    const keys = open();
    const { id, key: first } = keys.create(asked);
    const { key: second } = keys.rotate(id, HOUR_MS);
    expect([keys.find(first)?.untilMs, keys.find(second)?.untilMs]).toEqual([
      nowMs + HOUR_MS,
      Number.POSITIVE_INFINITY,
    ]);
    nowMs += HOUR_MS;
    expect([keys.find(first), keys.find(second)?.row.id]).toEqual([undefined, id]);
    const { key: third } = keys.rotate(id, 0);
    expect([keys.find(second), keys.find(third)?.row.id]).toEqual([undefined, id]);
    expect(changes).toBe(3);
  });

  test('of the last admin is not revoked: nobody could make another', () => {
    const keys = open();
    const { id } = keys.create({ ...asked, scopes: ['admin'] });
    keys.create({ ...asked, scopes: ['admin'], ttlMs: 10 });
    nowMs += 10;
    expect(() => keys.revoke(id)).toThrow('last admin key');
    keys.create({ ...asked, scopes: ['admin'] });
    keys.revoke(id);
    expect([keys.hasAdmin(), keys.hasAny('admin'), keys.hasAny('publish')]).toEqual([true, true, false]);
  });

  test.each<[string, Partial<KeyRequest>, string]>([
    ['without a scope', { scopes: [] }, 'scope'],
    ['to use no model', { models: [] }, 'models'],
    ['for a step', { models: ['my-model@5'] }, 'no pattern'],
    ['with a star in the middle', { models: ['a*b'] }, 'no pattern'],
    ['without an end that a date can tell', { ttlMs: Number.MAX_SAFE_INTEGER }, 'too long'],
  ])('%s is not made', (_, wrong, says) => {
    expect(() => open().create({ ...asked, ...wrong })).toThrow(says);
    expect(rows.keys()).toEqual([]);
  });

  test('is taken out of any text, but for its id', () => {
    const { key, id } = open().create(asked);
    expect(withoutSecrets(`{"key":"${key}"}`)).toBe(`{"key":"sg_${id}.***"}`);
    expect(readKey(withoutSecrets(key))).toBeUndefined();
  });
});

describe('a meter', () => {
  test('lets a minute of requests in at once, then as many as the minute holds, evenly', () => {
    const meter = new Meter({ perMinute: 60, concurrentMax: undefined });
    for (let n = 0; n < 60; n++) expect(meter.enter(1_000)).toBe('entered');
    expect(meter.enter(1_000)).toEqual({ over: 'perMinute', waitMs: 1_000 });
    expect(meter.enter(1_900)).toEqual({ over: 'perMinute', waitMs: 100 });
    expect(meter.enter(2_000)).toBe('entered');
    expect(meter.enter(2_000)).toMatchObject({ over: 'perMinute' });
    for (let n = 0; n < 60; n++) expect(meter.enter(62_000)).toBe('entered');
    expect(meter.enter(62_000)).toMatchObject({ over: 'perMinute' });
  });

  test("lets so many run at once, and a request that was refused takes nobody's place", () => {
    const meter = new Meter({ perMinute: 100, concurrentMax: 2 });
    expect([meter.enter(0), meter.enter(0)]).toEqual(['entered', 'entered']);
    expect(meter.enter(0)).toMatchObject({ over: 'concurrentMax' });
    meter.leave();
    expect(meter.enter(0)).toBe('entered');
    expect(meter.running).toBe(2);
  });
});
