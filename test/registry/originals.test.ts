// What holds for an adapter's files whatever their size: small ones are held in memory, large ones are read again and cloned.
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AdapterStore } from '../../src/registry/adapter-store.ts';
import { ADAPTER_FILES } from '../../src/registry/originals.ts';
import { Roots } from '../../src/registry/roots.ts';
import { original, safetensors, scratch, withHeader, writeCheckpoint } from './fixtures.ts';

const LIMIT = 256 * 1024;

/** A file of weights of exactly so many bytes; another seed is another content. */
function weights(bytes: number, seed: number): Buffer {
  const header = (data: number) => ({ a: { dtype: 'U8', shape: [data], data_offsets: [0, data] } });
  const data = bytes - withHeader(header(bytes), Buffer.alloc(0)).length;
  const file = withHeader(header(data), Buffer.alloc(data, seed));
  expect(file.length).toBe(bytes);
  return file;
}

function source(bytes: number, seed = 1): string {
  const dir = writeCheckpoint(scratch());
  writeFileSync(join(dir, 'adapter_model.safetensors'), weights(bytes, seed));
  return dir;
}

async function openStore() {
  return AdapterStore.open(join(scratch(), 'adapters'), new Roots([]));
}

async function open(store: AdapterStore, dir: string) {
  const originals = (await store.open(dir)) ?? expect.fail('not there');
  onTestFinished(() => originals.close());
  return originals;
}

function digestOf(dir: string): string {
  const hash = createHash('sha256');
  for (const name of ADAPTER_FILES) {
    const bytes = readFileSync(join(dir, name));
    hash.update(`${name}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

describe.each([
  ['small', 4096],
  ['as large as is held in memory', LIMIT],
  ['one byte larger', LIMIT + 1],
  ['large', 5 * LIMIT + 3],
])('an adapter that is %s', (_, bytes) => {
  test('is kept byte for byte, under the digest of its bytes, for others to read and nobody to write', async () => {
    const before = process.umask(0o077);
    onTestFinished(() => void process.umask(before));
    const store = await openStore();
    const dir = source(bytes);
    const { digest } = (await store.keep(await open(store, dir), (taken) => taken)) ?? expect.fail('not taken');
    expect(digest).toBe(digestOf(dir));
    expect(digestOf(store.pathOf(digest))).toBe(digest);
    expect(statSync(store.pathOf(digest)).mode & 0o777).toBe(0o755);
    for (const name of ADAPTER_FILES) expect(statSync(join(store.pathOf(digest), name)).mode & 0o777).toBe(0o444);
  });

  test.each<[string, (path: string) => void]>([
    ['was written again in place', (path) => writeFileSync(path, weights(bytes, 2))],
    ['grew', (path) => appendFileSync(path, 'x')],
    ['was cut', (path) => truncateSync(path, 100)],
    ['is another file', (path) => renameSync(join(source(bytes, 2), 'adapter_model.safetensors'), path)],
  ])('is not taken when, since it was opened, it %s', async (_, change) => {
    const store = await openStore();
    const dir = source(bytes);
    const originals = await open(store, dir);
    change(join(dir, 'adapter_model.safetensors'));
    expect(await store.keep(originals, (taken) => taken)).toBeUndefined();
    expect(await store.contents()).toEqual(new Set());
  });

  test('reads the same at every place', async () => {
    const path = join(source(bytes), 'adapter_model.safetensors');
    const file = await original(path);
    const all = readFileSync(path);
    for (const at of [0, 8, bytes - LIMIT - 1, LIMIT - 4, LIMIT - 2, bytes - 4].filter(
      (place) => place >= 0 && place + 4 <= bytes,
    ))
      expect(await file.read(at, 4)).toEqual(all.subarray(at, at + 4));
  });
});

test('a file that is held in memory says what it said when it was read', async () => {
  const path = join(writeCheckpoint(scratch(), { seed: 1 }), 'adapter_model.safetensors');
  const file = await original(path);
  writeFileSync(path, safetensors(2));
  expect(await file.read(0, file.size)).toEqual(safetensors(1));
});
