// A full disk under `data`: what is there is served and routed on, writes are refused with 507, and all is well by itself when there is
// space again. A small file system of its own is mounted for it; where that is not permitted, the tests are skipped and say so.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { examine } from '../../src/registry/doctor.ts';
import { rowsOf } from '../faults/row.ts';
import { setUp, until } from '../gateway/harness.ts';
import { answer, openRegistry, scratch, writeCheckpoint } from './fixtures.ts';

const DISK_BYTES = 2 * 1024 * 1024;
const FULL = { code: 'storage_full', status: 507 };

interface Disk {
  readonly dir: string;
  /** Takes every byte that is left, until the returned function is called. */
  fill(): () => void;
}

function mountDisk(context: TestContext): Disk {
  const dir = scratch();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    context.skip('mounting a file system is not permitted here: the full disk was not tried');
  }
  onTestFinished(() => void execFileSync('umount', ['-l', dir]));
  return { dir, fill: () => fill(join(dir, 'ballast')) };
}

function fill(path: string): () => void {
  const file = openSync(path, 'w');
  for (const bytes of [65_536, 4_096, 1]) {
    const piece = Buffer.alloc(bytes);
    for (;;) {
      try {
        if (writeSync(file, piece) < bytes) break;
      } catch {
        break;
      }
    }
  }
  closeSync(file);
  return () => rmSync(path);
}

test('the registry goes on reading, refuses to write, and writes again when there is space', async (context) => {
  const disk = mountDisk(context);
  const dataDir = join(disk.dir, 'data');
  const { registry } = await openRegistry(dataDir);
  const register = (step: number) =>
    registry.register({ name: `m@${step}`, path: writeCheckpoint(scratch(), { seed: step }) });
  await register(1);
  const empty = disk.fill();
  await expect(register(2)).rejects.toMatchObject(FULL);
  expect(answer(registry, 'm@1')).toBe('m@1');
  expect(answer(registry, 'm')).toBe('m@1');
  expect(answer(registry, 'm@2')).toBe('model_not_found');
  // The database's log has room for some small writes still; then it says so too, and what it acknowledged stands.
  let acknowledged: string | undefined;
  let refusal: string | undefined;
  for (let turn = 0; refusal === undefined && turn < 10_000; turn++) {
    const alias = `a${turn % 100}`;
    refusal = refusalOf(() => registry.moveAlias({ model: 'm', alias, to: 1, who: 'test' }));
    if (refusal === undefined) acknowledged = alias;
    else if (turn < 100) expect(registry.catalog.aliases('m').map((one) => one.alias)).not.toContain(alias);
  }
  expect(refusal).toBe('storage_full');
  empty();
  await register(2);
  registry.moveAlias({ model: 'm', alias: 'after', to: 1, who: 'test' });
  registry.remove('m@2');
  await registry.sweepStore(new Set());
  await registry.close();
  const found = await examine(dataDir, { repair: false, deep: true });
  expect(found.findings.filter(({ severity }) => severity === 'problem')).toEqual([]);
  const again = await openRegistry(dataDir);
  expect(['m@1', 'm@2'].map((name) => answer(again.registry, name))).toEqual(['m@1', 'checkpoint_deleted']);
  const kept = again.registry.catalog.aliases('m').map(({ alias }) => alias);
  for (const alias of ['after', ...(acknowledged === undefined ? [] : [acknowledged])]) expect(kept).toContain(alias);
});

function refusalOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

rowsOf('gateway')(
  {
    fault: 'the disk under `data` is full',
    required: 'reads and routing go on; writes are answered 507; all is well by itself when there is space',
    mechanism: '`registry/ledger.ts` undoes what the disk refuses; `registry/discovery.ts` tries again',
  },
  async (context) => {
    const disk = mountDisk(context);
    const house = await setUp({ config: { data: join(disk.dir, 'data') } });
    await house.write(1);
    await house.write(2);
    await until(async () => (await house.ask('my-model')).model === 'my-model@2');
    const empty = disk.fill();
    const path = writeCheckpoint(scratch(), { seed: 9 });
    const refused = await register(house.running.adminUrl, path);
    expect(refused.status).toBe(507);
    expect(await refused.json()).toMatchObject({ error: { code: 'storage_full' } });
    const late = house.write(3);
    for (const model of ['my-model@1', 'my-model@2', 'my-model', 'base'])
      expect(await house.ask(model), model).toMatchObject({ status: 200 });
    expect((await house.ask('my-model@3')).code).toBe('model_not_found');
    expect((await fetch(`${house.running.url}/ready`)).status).toBe(200);
    expect((await fetch(`${house.running.url}/v1/models`)).status).toBe(200);
    empty();
    await late;
    expect(await house.ask('my-model@3')).toMatchObject({ status: 200, model: 'my-model@3' });
    expect((await register(house.running.adminUrl, path)).ok).toBe(true);
    return `answers and lists go on; registration ${refused.status} storage_full; what was written meanwhile appears when there is space`;
  },
);

test('`data` removed under a running gateway is told as that, not as the fault of the trainer; what is served goes on', async () => {
  const data = join(scratch(), 'data');
  const house = await setUp({ config: { data } });
  await house.write(1);
  await until(async () => (await house.ask('my-model')).model === 'my-model@1');
  const path = writeCheckpoint(scratch(), { seed: 9 });
  rmSync(data, { recursive: true });
  const refused = await register(house.running.adminUrl, path);
  expect([refused.status, await refused.json()]).toMatchObject([
    500,
    { error: { code: 'storage_failed', message: expect.stringContaining('Was it removed') } },
  ]);
  expect(await house.ask('my-model@1')).toMatchObject({ status: 200, model: 'my-model@1' });
});

const register = (adminUrl: string, path: string) =>
  fetch(`${adminUrl}/admin/v1/checkpoints`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'other@1', path }),
  });
