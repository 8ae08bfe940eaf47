// Promise: what the disk under `data` refuses while a source is fetched is told as that, never as the source's fault, and never passes for a fetch.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { readdir, statfs } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { adapterFiles, scratch } from './house.ts';
import { openRoom } from './room.ts';
import { hostOf, startHost } from './stand-ins/host.ts';

/** A disk of one megabyte; undefined where this user may not mount one. */
async function smallDisk(): Promise<string | undefined> {
  const dir = await scratch();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  onTestFinished(() => void execFileSync('umount', ['-l', dir]));
  return dir;
}

test('a full disk is told as such, and given its room back', async (context) => {
  const dataDir = await smallDisk();
  if (dataDir === undefined) return context.skip('mounting a file system is not permitted here');
  const web = await hostOf(await adapterFiles({ hidden: 1024, layers: 8, rank: 16 }));
  const room = await openRoom({ allow: [web.url] }, { dataDir });
  expect(await room.bring(`${web.url}/a`)).toMatchObject({ code: 'storage_full' });
  expect(await room.staged()).toEqual([]);
});

test('a disk that takes but the beginning of the last piece is full too', async (context) => {
  const dataDir = await smallDisk();
  if (dataDir === undefined) return context.skip('mounting a file system is not permitted here');
  const { bavail, bsize } = await statfs(dataDir);
  const [config, piece] = [Buffer.from('{}'), Buffer.alloc(10_000)];
  // Room for the config, and for all of the weights but a bit of their end.
  const weights = (bavail - 1) * bsize + 1_000;
  const beginning = weights - piece.length;
  const begun = Promise.withResolvers<void>();
  const web = await startHost(async ({ url, response }) => {
    if (url.pathname.endsWith('/adapter_config.json')) return void response.end(config);
    if (!url.pathname.endsWith('/adapter_model.safetensors')) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': weights });
    response.write(Buffer.alloc(beginning));
    await begun.promise;
    response.end(piece);
  });
  const room = await openRoom({ allow: [web.url] }, { dataDir });
  const onProgress = ({ bytes }: { bytes: number }) => {
    if (bytes >= config.length + beginning) begun.resolve();
  };
  expect(await room.bring(`${web.url}/a`, { onProgress })).toMatchObject({ code: 'storage_full' });
});

test('a data directory that goes while something is fetched, or is gone before, is told, and not made anew', async () => {
  const dataDir = await scratch();
  const web = await hostOf(await adapterFiles({ hidden: 256 }));
  const room = await openRoom({ allow: [web.url] }, { dataDir });
  const onProgress = ({ bytes }: { bytes: number }) => {
    if (bytes > 0) rmSync(dataDir, { recursive: true, force: true });
  };
  for (const more of [{ onProgress }, {}])
    expect(await room.bring(`${web.url}/a`, more)).toMatchObject({
      code: 'storage_failed',
      message: expect.stringContaining(`${web.url}/a#`),
    });
  await expect(readdir(dataDir)).rejects.toThrow('ENOENT');
});

test('an empty file is a file', async () => {
  const empty = await startHost(({ response }) => void response.writeHead(200, { 'content-length': 0 }).end());
  const room = await openRoom({ allow: [empty.url] });
  expect((await room.bring(`${empty.url}/a`)).files).toMatchObject({ 'adapter_config.json': Buffer.alloc(0) });
  for (const name of ['a.tar', 'a.tgz']) {
    const { code, message } = await room.bring(`${empty.url}/${name}`);
    expect(code).toBe('checkpoint_invalid');
    expect(message).not.toContain(room.dataDir);
  }
});
