// What the adapter store promises beyond store.test.ts: sweeps that take nothing that is needed, and files that are the ones judged.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AdapterStore } from '../../src/registry/adapter-store.ts';
import { barrierTo, digestOfDirectory, makeOpenDirectory } from '../../src/registry/disk.ts';
import { stampsOf } from '../../src/registry/inspect.ts';
import { Roots } from '../../src/registry/roots.ts';
import { seeded, seeds } from '../random.ts';
import { scratch, writeCheckpoint } from './fixtures.ts';

async function openStore(options: { roots?: readonly string[]; bytesMax?: number } = {}) {
  const dir = join(scratch(), 'adapters');
  return { store: await AdapterStore.open(dir, new Roots(options.roots ?? []), options), dir };
}

const take = async (store: AdapterStore, source: string) =>
  (await store.take(source, (await stampsOf(source)).signature)) ?? expect.fail('nothing was taken');
const source = (seed: number) => writeCheckpoint(scratch(), { seed });

describe('a sweep', () => {
  test('removes what nothing needs, says how many bytes that freed, and leaves the rest', async () => {
    const { store, dir } = await openStore();
    const [one, two] = [await take(store, source(1)), await take(store, source(2))];
    expect(store.bytes).toBe(one.bytes + two.bytes);
    expect(await store.sweep(new Set([one.digest]))).toBe(two.bytes);
    expect(readdirSync(dir)).toEqual([one.digest]);
    expect(store.bytes).toBe(one.bytes);
    expect(await store.contents()).toEqual(new Set([one.digest]));
  });

  test('leaves what is on its way in until it is written down that it is needed', async () => {
    const { store } = await openStore();
    const directory = source(1);
    const { signature } = await stampsOf(directory);
    const kept = await store.take(directory, signature, async ({ digest }) => {
      await store.sweep(new Set());
      return existsSync(store.pathOf(digest));
    });
    expect(kept).toBe(true);
    await store.sweep(new Set());
    expect(await store.contents()).toEqual(new Set());
  });

  test('of many threads of chance never removes what was committed, nor forgets what was not', {
    timeout: 30_000,
  }, async () => {
    for (const seed of seeds(3)) {
      const random = seeded(seed);
      const { store, dir } = await openStore();
      const sources = [1, 2, 3, 4, 5].map(source);
      const needed = new Map<string, string>();
      const turns = Array.from({ length: 60 }, async (_, turn) => {
        const name = `m@${random.below(8)}`;
        const directory = random.pick(sources);
        if (random.chance(0.3)) return store.sweep(new Set(needed.values()));
        if (random.chance(0.2)) return needed.delete(name);
        const { signature } = await stampsOf(directory);
        return store.take(directory, signature, ({ digest }) => {
          needed.set(name, digest);
          return turn;
        });
      });
      await Promise.all(turns);
      await store.sweep(new Set(needed.values()));
      expect(new Set(readdirSync(dir)), `seed ${seed}`).toEqual(new Set(needed.values()));
      for (const digest of new Set(needed.values()))
        expect((await digestOfDirectory(join(dir, digest))).digest, `seed ${seed}`).toBe(digest);
    }
  });

  test('that a crash cut short is finished at the next start', async () => {
    const { store, dir } = await openStore();
    const { digest } = await take(store, source(1));
    renameSync(join(dir, digest), join(dir, '.removing-cut-short'));
    expect((await AdapterStore.open(dir, new Roots([]))).bytes).toBe(0);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('between the check of a path and the copy', () => {
  test('a file or a directory that becomes a link to elsewhere is not followed', { timeout: 30_000 }, async () => {
    const top = scratch();
    const secret = writeCheckpoint(join(top, 'secret'), { seed: 66 });
    const inside = writeCheckpoint(join(top, 'runs', 'real'), { seed: 1 });
    const step = join(top, 'runs', 'checkpoint-1');
    const { store } = await openStore({ roots: [join(top, 'runs')] });
    const allowed = (await digestOfDirectory(inside)).digest;
    let swapping = true;
    const point = (to: string) => {
      const link = join(top, 'runs', '.link');
      symlinkSync(to, link);
      renameSync(link, step);
    };
    point(inside);
    const swapper = (async () => {
      for (let turn = 0; swapping; turn++) {
        point(turn % 2 === 0 ? secret : inside);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    onTestFinished(() => {
      swapping = false;
    });
    const outcomes = new Set<string>();
    for (let attempt = 0; attempt < 300; attempt++) {
      const { signature } = await stampsOf(step);
      const taken = await store.take(step, signature).catch((error: unknown) => (error as { code?: string }).code);
      if (typeof taken === 'object') expect(taken.digest).toBe(allowed);
      outcomes.add(typeof taken === 'object' ? 'taken' : String(taken));
    }
    swapping = false;
    await swapper;
    expect(await store.contents()).not.toContain((await digestOfDirectory(secret)).digest);
    expect(outcomes).toContain('path_not_allowed');
  });

  test('what was opened is what is read, though another file has its name by then', async () => {
    const top = scratch();
    const inside = writeCheckpoint(join(top, 'runs'), { seed: 1 });
    const secret = writeCheckpoint(join(top, 'secret'), { seed: 66 });
    const path = join(inside, 'adapter_config.json');
    const opened = (await new Roots([join(top, 'runs')]).open(path)) ?? expect.fail('not opened');
    onTestFinished(() => opened.file.close());
    unlinkSync(path);
    symlinkSync(join(secret, 'adapter_config.json'), path);
    expect(opened.path).toBe(path);
    expect((await opened.file.stat()).ino).not.toBe(statSync(path).ino);
  });

  test('what is no regular file is not waited for', async () => {
    const { store } = await openStore();
    const directory = source(1);
    rmSync(join(directory, 'adapter_config.json'));
    mkdirSync(join(directory, 'adapter_config.json'));
    expect(await store.take(directory, (await stampsOf(directory)).signature)).toBeUndefined();
  });
});

describe('an engine of another user', () => {
  test('may pass every directory that the store made, whatever the umask', async () => {
    const top = scratch();
    chmodSync(top, 0o755);
    const before = process.umask(0o077);
    onTestFinished(() => void process.umask(before));
    await makeOpenDirectory(join(top, 'data', 'adapters'));
    for (const dir of ['data', 'data/adapters']) expect(statSync(join(top, dir)).mode & 0o777).toBe(0o755);
    expect(await barrierTo(join(top, 'data', 'adapters'))).toBeUndefined();
  });

  test('is stopped by a directory above, which is named', async () => {
    const top = scratch();
    mkdirSync(join(top, 'home', 'data'), { recursive: true });
    chmodSync(top, 0o755);
    chmodSync(join(top, 'home'), 0o700);
    expect(await barrierTo(join(top, 'home', 'data'))).toBe(join(top, 'home'));
    expect(await barrierTo(dirname(top))).toBeUndefined();
  });
});
