// `stepgate doctor`: what it finds in a data directory, what it repairs, and what it leaves alone.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { type ExamineOptions, examine, type Finding } from '../../src/registry/doctor.ts';
import { answer, openRegistry, safetensors, scratch, until, writeCheckpoint } from './fixtures.ts';

const LOOK: ExamineOptions = { repair: false, deep: false };
const DEEP: ExamineOptions = { repair: false, deep: true };
const REPAIR: ExamineOptions = { repair: true, deep: true };

/** A data directory with m@1, m@2 and a deleted m@3, and no gateway on it. */
async function dataDirectory() {
  const dataDir = join(scratch(), 'data');
  const watch = scratch();
  for (const step of [1, 2, 3]) writeCheckpoint(join(watch, `checkpoint-${step}`), { seed: step });
  const { registry } = await openRegistry(dataDir);
  for (const step of [1, 2, 3]) await registry.register({ name: `m@${step}`, path: join(watch, `checkpoint-${step}`) });
  registry.remove('m@3');
  const pathOf = (step: number) => registry.catalog.find(`m@${step}`)?.adapter?.path ?? expect.fail('no adapter');
  const paths = [1, 2, 3].map(pathOf);
  await registry.close();
  return { dataDir, watch, paths };
}

const problems = (findings: readonly Finding[]) =>
  findings.filter(({ severity }) => severity === 'problem').map(({ kind, what, state }) => ({ kind, what, state }));
const everything = (dir: string) => readdirSync(dir, { recursive: true }).map(String).sort();

describe('the doctor', () => {
  test('finds nothing in a directory that a gateway left, and counts what is there', async () => {
    const { dataDir } = await dataDirectory();
    const found = await examine(dataDir, DEEP);
    expect(problems(found.findings)).toEqual([]);
    expect(found).toMatchObject({ checkpoints: 2, adapters: 2, toBeFreed: 1 });
    expect(found.bytes).toBeGreaterThan(0);
  });

  test('refuses while a gateway runs on it', async () => {
    const dataDir = join(scratch(), 'data');
    await openRegistry(dataDir);
    await expect(examine(dataDir, LOOK)).rejects.toThrow(/a gateway runs on .*: stop it first/);
  });

  test('refuses what is no directory, in words', async () => {
    await expect(examine(join(scratch(), 'nothing'), LOOK)).rejects.toThrow(/is no directory: name/);
  });

  test('looks without changing anything', async () => {
    const { dataDir, paths } = await dataDirectory();
    rmSync(String(paths[0]), { recursive: true });
    mkdirSync(join(dataDir, 'adapters', '.taking-x'));
    const before = everything(dataDir);
    const found = await examine(dataDir, DEEP);
    expect(problems(found.findings)).toEqual([
      { kind: 'lost', what: 'm@1', state: 'repairable' },
      { kind: 'leftover', what: 'adapters/.taking-x', state: 'repairable' },
    ]);
    expect(everything(dataDir)).toEqual(before);
  });

  test('is clean after it has repaired', async () => {
    const { dataDir, paths } = await dataDirectory();
    const [one, two] = paths.map(String);
    rmSync(String(one), { recursive: true });
    chmodSync(join(String(two), 'adapter_config.json'), 0o600);
    mkdirSync(join(dataDir, 'adapters', '.removing-x'));
    mkdirSync(join(dataDir, 'adapters', '0'.repeat(64)));
    const found = await examine(dataDir, REPAIR);
    expect(problems(found.findings).map(({ kind, state }) => `${kind} ${state}`)).toEqual([
      'lost repaired',
      'permissions repaired',
      'orphan repaired',
      'leftover repaired',
    ]);
    expect(problems((await examine(dataDir, DEEP)).findings)).toEqual([]);
    expect(statSync(join(String(two), 'adapter_config.json')).mode & 0o777).toBe(0o444);
  });

  test('never removes what an engine may have been told of', async () => {
    const { dataDir, paths } = await dataDirectory();
    await examine(dataDir, REPAIR);
    expect(existsSync(String(paths[2]))).toBe(true);
  });

  test('leaves unknown files alone and says that they are there', async () => {
    const { dataDir } = await dataDirectory();
    writeFileSync(join(dataDir, 'notes.txt'), 'mine');
    writeFileSync(join(dataDir, 'adapters', 'notes.txt'), 'mine');
    const { findings } = await examine(dataDir, REPAIR);
    expect(findings.filter(({ kind }) => kind === 'unknown').map(({ what }) => what)).toEqual([
      'adapters/notes.txt',
      'notes.txt',
    ]);
    expect(existsSync(join(dataDir, 'notes.txt'))).toBe(true);
  });
});

describe('damaged content', () => {
  const DAMAGES: readonly (readonly [string, (dir: string) => void, ExamineOptions])[] = [
    ['a file that is gone', (dir) => rmSync(join(dir, 'adapter_config.json')), LOOK],
    ['a file that was cut', (dir) => overwrite(dir, Buffer.from('short')), LOOK],
    ['other bytes of the same length', (dir) => overwrite(dir, safetensors(99)), DEEP],
  ];
  const overwrite = (dir: string, bytes: Buffer) => {
    const file = join(dir, 'adapter_model.safetensors');
    chmodSync(file, 0o644);
    writeFileSync(file, bytes);
    chmodSync(file, 0o444);
  };

  test.each(DAMAGES)('is found: %s', async (_, damage, options) => {
    const { dataDir, paths } = await dataDirectory();
    damage(String(paths[0]));
    expect(problems((await examine(dataDir, options)).findings)).toEqual([
      { kind: 'damaged', what: 'm@1', state: 'repairable' },
    ]);
  });

  test('is put aside and served no more, until the trainer’s own files are taken again', async () => {
    const { dataDir, watch, paths } = await dataDirectory();
    overwrite(String(paths[0]), safetensors(99));
    await examine(dataDir, REPAIR);
    const [away] = readdirSync(join(dataDir, 'damaged'));
    expect(readFileSync(join(dataDir, 'damaged', String(away), 'adapter_model.safetensors'))).toEqual(safetensors(99));
    const { registry } = await openRegistry(dataDir, { models: { m: { watch } } });
    expect(answer(registry, 'm@1')).toBe('checkpoint_not_servable');
    expect(answer(registry, 'm@2')).toBe('m@2');
    registry.watch();
    await until('it is served again', () => answer(registry, 'm@1') === 'm@1');
    expect(readFileSync(join(String(paths[0]), 'adapter_model.safetensors'))).toEqual(safetensors(1));
    expect(registry.catalog.find('m@1')?.adapter?.id).toBe('m@1');
  });
});

describe('a database', () => {
  test('that is no database, or of a newer version, is reported, and no file is touched for it', async () => {
    const { dataDir } = await dataDirectory();
    const before = everything(join(dataDir, 'adapters'));
    const db = new DatabaseSync(join(dataDir, 'registry.sqlite'));
    db.exec('PRAGMA user_version = 99');
    db.close();
    const newer = await examine(dataDir, REPAIR);
    expect(newer.findings[0]).toMatchObject({
      kind: 'database',
      about: expect.stringContaining('newer'),
      state: 'yours',
    });
    writeFileSync(join(dataDir, 'registry.sqlite'), 'not a database '.repeat(1000));
    expect((await examine(dataDir, REPAIR)).findings[0]).toMatchObject({ kind: 'database', state: 'yours' });
    rmSync(join(dataDir, 'registry.sqlite'));
    expect((await examine(dataDir, REPAIR)).findings[0]).toMatchObject({ kind: 'database', state: 'yours' });
    expect(everything(join(dataDir, 'adapters'))).toEqual(before);
  });

  test('with a broken page is reported as SQLite words it', async () => {
    const { dataDir } = await dataDirectory();
    const file = join(dataDir, 'registry.sqlite');
    const bytes = readFileSync(file);
    bytes.fill(0xff, 4096 * 2 + 8, 4096 * 3);
    writeFileSync(file, bytes);
    const { findings } = await examine(dataDir, LOOK);
    expect(findings[0]).toMatchObject({ kind: 'database', about: expect.stringContaining('SQLite says') });
  });
});
