import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { AdapterStore } from '../../src/registry/adapter-store.ts';
import { Database } from '../../src/registry/database.ts';
import { stampsOf } from '../../src/registry/inspect.ts';
import { Roots } from '../../src/registry/roots.ts';
import { safetensors, scratch, writeCheckpoint } from './fixtures.ts';

const FILES = ['adapter_config.json', 'adapter_model.safetensors'];

async function openStore(roots: readonly string[] = []): Promise<{ store: AdapterStore; dir: string }> {
  const dir = join(scratch(), 'adapters');
  return { store: await AdapterStore.open(dir, new Roots(roots)), dir };
}

const take = async (store: AdapterStore, source: string) => store.take(source, (await stampsOf(source)).signature);

describe('the adapter store', () => {
  test('keeps exactly the config and the weights, under the digest of what was copied', async () => {
    const { store, dir } = await openStore();
    const source = writeCheckpoint(scratch());
    const taken = await take(store, source);
    const hash = createHash('sha256');
    for (const name of FILES) {
      const bytes = readFileSync(join(source, name));
      hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    }
    expect(taken?.digest).toBe(hash.digest('hex'));
    expect(readdirSync(dir)).toEqual([taken?.digest]);
    expect(readdirSync(join(dir, String(taken?.digest))).sort()).toEqual(FILES);
    expect(taken?.bytes).toBe(FILES.reduce((sum, name) => sum + statSync(join(source, name)).size, 0));
  });

  test('keeps a copy: rewriting the source in place changes nothing in it', async () => {
    const { store } = await openStore();
    const source = writeCheckpoint(scratch(), { seed: 1 });
    const taken = await take(store, source);
    writeFileSync(join(source, 'adapter_model.safetensors'), safetensors(2));
    const kept = taken && readFileSync(join(store.pathOf(taken.digest), 'adapter_model.safetensors'));
    expect(kept).toEqual(safetensors(1));
  });

  test('keeps the same content once, also when it is taken twice at the same time', async () => {
    const { store, dir } = await openStore();
    const sources = [writeCheckpoint(scratch()), writeCheckpoint(scratch())];
    const taken = await Promise.all(Array.from({ length: 8 }, (_, index) => take(store, String(sources[index % 2]))));
    expect(new Set(taken.map((one) => one?.digest)).size).toBe(1);
    expect(readdirSync(dir)).toHaveLength(1);
  });

  test('makes files that an engine of another user can read and nobody writes', async () => {
    const { store } = await openStore();
    const source = writeCheckpoint(scratch());
    for (const name of FILES) chmodSync(join(source, name), 0o600);
    const taken = await take(store, source);
    const dir = store.pathOf(taken?.digest ?? expect.fail('nothing was taken'));
    expect(statSync(dir).mode & 0o777).toBe(0o755);
    for (const name of FILES) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o444);
  });

  test('takes nothing when the files are no longer those that were looked at', async () => {
    const { store, dir } = await openStore();
    const source = writeCheckpoint(scratch(), { seed: 1 });
    const { signature } = await stampsOf(source);
    writeFileSync(join(source, 'adapter_model.safetensors'), safetensors(2));
    expect(await store.take(source, signature)).toBeUndefined();
    rmSync(source, { recursive: true });
    expect(await store.take(source, signature)).toBeUndefined();
    expect(readdirSync(dir)).toEqual([]);
  });

  test('removes at the next start what a crash left half-taken, and nothing else', async () => {
    const { store, dir } = await openStore();
    await take(store, writeCheckpoint(scratch()));
    const [kept] = readdirSync(dir);
    mkdirSync(join(dir, '.taking-crashed'));
    writeFileSync(join(dir, '.taking-crashed', 'adapter_model.safetensors'), 'half');
    await AdapterStore.open(dir, new Roots([]));
    expect(readdirSync(dir)).toEqual([kept]);
  });

  test('heals a directory whose files somebody removed', async () => {
    const { store, dir } = await openStore();
    const source = writeCheckpoint(scratch());
    const taken = await take(store, source);
    rmSync(join(dir, String(taken?.digest), 'adapter_config.json'));
    await take(store, source);
    expect(readdirSync(dir)).toEqual([taken?.digest]);
    expect(readdirSync(join(dir, String(taken?.digest))).sort()).toEqual(FILES);
  });
});

describe('the allowed roots', () => {
  test('admit what is inside, through symlinks too, and nothing that leads outside', async () => {
    const top = scratch();
    const inside = writeCheckpoint(join(top, 'runs', 'checkpoint-1'));
    const outside = writeCheckpoint(join(top, 'secret'));
    symlinkSync(inside, join(top, 'runs', 'good'));
    symlinkSync(outside, join(top, 'runs', 'bad'));
    const roots = new Roots([join(top, 'runs')]);
    expect(await roots.find('checkpoint-1')).toBe(inside);
    expect(await roots.admit(join(top, 'runs', 'good'))).toBe(inside);
    expect(await roots.find('nothing')).toBeUndefined();
    for (const path of ['bad', '../secret', outside, join(top, 'runs-other'), join(top, 'nothing'), '/etc']) {
      await expect(roots.find(path)).rejects.toMatchObject({ code: 'path_not_allowed' });
    }
  });

  test('keep out a file that links outside, though its directory is inside', async () => {
    const top = scratch();
    const inside = writeCheckpoint(join(top, 'runs', 'checkpoint-1'));
    const outside = writeCheckpoint(join(top, 'secret'));
    rmSync(join(inside, 'adapter_model.safetensors'));
    symlinkSync(join(outside, 'adapter_model.safetensors'), join(inside, 'adapter_model.safetensors'));
    const { store, dir } = await openStore([join(top, 'runs')]);
    await expect(take(store, inside)).rejects.toMatchObject({ code: 'path_not_allowed' });
    expect(readdirSync(dir)).toEqual([]);
  });

  test('that are none admit any absolute path', async () => {
    const dir = writeCheckpoint(scratch());
    expect(await new Roots([]).find(dir)).toBe(dir);
    await expect(new Roots([]).find('relative')).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

describe('the database file', () => {
  const open = (file: string, migrations?: readonly string[]) =>
    new Database({ file, pathOf: (digest) => digest, ...(migrations && { migrations }) });

  test('is durable: WAL, and synchronous FULL', () => {
    const file = join(scratch(), 'registry.sqlite');
    open(file).close();
    const db = new DatabaseSync(file);
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    db.close();
  });

  test("and the log beside it are its owner's alone, whatever the umask: digests of keys are in it", () => {
    const file = join(scratch(), 'registry.sqlite');
    const umask = process.umask(0);
    const database = open(file);
    process.umask(umask);
    for (const path of [file, `${file}-wal`]) expect(statSync(path).mode & 0o777).toBe(0o600);
    database.close();
  });

  test('of a newer version is refused in words that say what to do, and is left as it was', () => {
    const file = join(scratch(), 'registry.sqlite');
    const db = new DatabaseSync(file);
    db.exec('PRAGMA user_version = 99');
    db.close();
    const before = readFileSync(file);
    expect(() => open(file)).toThrow(/written by a newer stepgate.*Upgrade stepgate/);
    expect(readFileSync(file).subarray(100)).toEqual(before.subarray(100));
  });

  test('that is in use by another gateway, or is no database, is refused in words', () => {
    const file = join(scratch(), 'registry.sqlite');
    const first = open(file);
    expect(() => open(file)).toThrow(/in use: another stepgate/);
    first.close();
    const other = join(scratch(), 'registry.sqlite');
    writeFileSync(other, 'not a database '.repeat(100));
    expect(() => open(other)).toThrow(/is not a stepgate registry/);
    expect(existsSync(other)).toBe(true);
  });

  test('is migrated step by step, and a step that fails leaves the version before it', () => {
    const file = join(scratch(), 'registry.sqlite');
    const one = 'CREATE TABLE a (x)';
    expect(() => open(file, [one, 'CREATE TABLE b (x); nonsense'])).toThrow();
    const db = new DatabaseSync(file);
    expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1 });
    expect(db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()).toEqual([{ name: 'a' }]);
    db.close();
    open(file, [one, 'ALTER TABLE a ADD COLUMN y']).close();
  });
});
