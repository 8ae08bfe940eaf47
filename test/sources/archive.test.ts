// Promise: a tar archive gives its one adapter and nothing else, whatever its names say, and no more than it may.
import { gzipSync } from 'node:zlib';
import { packTar, type TarEntry } from 'modern-tar';
import { expect, test } from 'vitest';
import { adapterFiles, inFolder } from './house.ts';
import { openRoom, type Room } from './room.ts';
import { send, startHost, sum } from './stand-ins/host.ts';

const tar = async (entries: readonly TarEntry[]): Promise<Buffer> => Buffer.from(await packTar(entries));
const entriesOf = (files: Record<string, Buffer>): TarEntry[] =>
  Object.entries(files).map(([name, body]) => ({ header: { name, size: body.length }, body }));

/** A room that may fetch what `host` serves at any path. */
async function roomWith(bytes: Buffer, more: Record<string, unknown> = {}): Promise<Room & { url: string }> {
  const host = await startHost(({ request, response, host }) =>
    send(host, request, response, { bytes, etag: `"${sum('md5', bytes)}"` }),
  );
  return { ...(await openRoom({ allow: [host.url], ...more })), url: host.url };
}

test.each(['a.tar', 'a.tar.gz', 'a.tgz'])('%s gives the adapter that is in it', async (name) => {
  const files = await adapterFiles();
  const packed = await tar([
    { header: { name: 'run/checkpoint-5/', size: 0, type: 'directory' } },
    ...entriesOf(inFolder('./run/checkpoint-5', files)),
  ]);
  const room = await roomWith(name.endsWith('.tar') ? packed : gzipSync(packed));
  const { uri, files: found = {} } = await room.bring(`${room.url}/${name}`);
  expect(uri).toMatch(new RegExp(`/${name}#[0-9a-f]{32}$`));
  for (const wanted of ['adapter_config.json', 'adapter_model.safetensors', 'trainer_state.json'])
    expect(found[wanted]).toEqual(files[wanted]);
  expect(Object.keys(found)).not.toContain('optimizer.pt');
  expect(await room.staged()).toEqual([]);
});

test.each([
  ['with absolute names', '/', 'a.tar'],
  ['whose own name is longer than a file may have', '', `${'a'.repeat(300)}.tar`],
])('an archive %s gives it too', async (_, prefix, name) => {
  const files = await adapterFiles();
  const named = Object.fromEntries(Object.entries(files).map(([path, body]) => [prefix + path, body]));
  const room = await roomWith(await tar(entriesOf(named)));
  const { files: found = {} } = await room.bring(`${room.url}/${name}`);
  expect(found['adapter_model.safetensors']).toEqual(files['adapter_model.safetensors']);
});

test('names that lead elsewhere, links and twins write nothing', async () => {
  const files = await adapterFiles();
  const evil = Buffer.from('evil');
  const packed = await tar([
    { header: { name: 'adapter_config.json', size: 0, type: 'symlink', linkname: '/etc/passwd' } },
    ...entriesOf({ '../../../trainer_state.json': evil, '/etc/README.md': evil }),
    ...entriesOf({ 'adapter_config.json': files['adapter_config.json'] ?? evil }),
    ...entriesOf({ 'adapter_model.safetensors': files['adapter_model.safetensors'] ?? evil }),
    ...entriesOf({ 'adapter_config.json': evil }),
  ]);
  const room = await roomWith(packed);
  const { files: found = {} } = await room.bring(`${room.url}/a.tar`);
  expect(Object.keys(found).sort()).toEqual(['a.tar', 'adapter_config.json', 'adapter_model.safetensors']);
  expect(found['adapter_config.json']).toEqual(files['adapter_config.json']);
});

test.each([
  ['no archive', Buffer.from('<html>'.repeat(1_000)), 'a.tar.gz', 'no whole tar archive'],
  ['no tar', gzipSync(Buffer.from('hello'.repeat(1_000))), 'a.tar.gz', 'no whole tar archive'],
  ['nothing', Buffer.alloc(0), 'a.tar.gz', 'no whole tar archive'],
  ['a bomb', gzipSync(Buffer.alloc(4_000_000)), 'a.tar.gz', 'sources.bytesMax'],
])('%s is refused', async (_, bytes, name, about) => {
  const room = await roomWith(bytes, { bytesMax: 1_048_576 });
  expect(await room.bring(`${room.url}/${name}`)).toMatchObject({
    code: 'checkpoint_invalid',
    message: expect.stringContaining(about),
  });
  expect(await room.staged()).toEqual([]);
});

test('half an archive, and one without an adapter, are refused', async () => {
  const whole = gzipSync(await tar(entriesOf(await adapterFiles())));
  const half = await roomWith(whole.subarray(0, whole.length / 2));
  expect(await half.bring(`${half.url}/a.tgz`)).toMatchObject({ code: 'checkpoint_invalid' });
  const other = await roomWith(gzipSync(await tar(entriesOf({ 'data.csv': Buffer.from('1') }))));
  expect(await other.bring(`${other.url}/a.tgz`)).toMatchObject({ message: expect.stringContaining('data.csv') });
});
