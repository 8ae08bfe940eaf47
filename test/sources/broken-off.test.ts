// Promise: a fetch that breaks off is gone on with, by itself, when it is asked for again, and after a restart; and what comes of it is the
// content that was listed, whole, or an error.
import { mkdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { Progress } from '../../src/sources/sources.ts';
import { KEPT_MAX, KEPT_MS } from '../../src/sources/staging.ts';
import { until } from '../gateway/harness.ts';
import { adapterFiles, houseWith, inFolder, registerFrom, stagedBytes } from './house.ts';
import { openRoom } from './room.ts';
import { send, startHost, sum } from './stand-ins/host.ts';
import { type Hub, startHub } from './stand-ins/hub.ts';
import { startMlflow } from './stand-ins/mlflow.ts';
import { startS3 } from './stand-ins/s3.ts';

const WEIGHTS = 'adapter_model.safetensors';
const LORA = 'hf:my-org/lora';

async function hubWithAdapter() {
  const hub = await startHub();
  const files = await adapterFiles({ hidden: 256 });
  hub.repos['my-org/lora'] = files;
  const weights = files[WEIGHTS] ?? Buffer.alloc(0);
  const sources = { allow: [LORA], hf: { url: hub.url, redirects: [hub.cdn.host] } };
  const before = files['adapter_config.json']?.length ?? 0;
  const onProgress = ({ bytes }: Progress) => hub.cdn.arrived(bytes - before);
  return { hub, files, weights, sources, onProgress };
}

const ranges = ({ cdn }: Hub) => cdn.seen.map(({ headers }) => headers.range);

test('what breaks off is gone on with at once: no byte is sent twice', async () => {
  const { hub, weights, sources, onProgress } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.cdn.cuts.push(10_000, 20_000, 5_000, 1_000);
  const { files } = await room.bring(LORA, { onProgress });
  expect(files?.[WEIGHTS]).toEqual(weights);
  expect(ranges(hub)).toEqual([undefined, 'bytes=10000-', 'bytes=30000-', 'bytes=35000-', 'bytes=36000-']);
  expect(hub.cdn.sent).toBe(weights.length);
  expect(room.news.at(-1)).toMatchObject({ phase: 'fetched', kind: 'hf' });
});

test('three tries in a row that bring nothing end it; asked again it goes on, and leaves nothing behind', async () => {
  const { hub, weights, sources, onProgress } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.cdn.cuts.push(10_000, 0, 0, 0);
  expect(await room.bring(LORA, { onProgress })).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('cannot be asked'),
  });
  expect(room.news.at(-1)).toMatchObject({ phase: 'broken_off', bytes: expect.any(Number) });
  expect(await room.staged()).toHaveLength(1);
  hub.cdn.seen.length = 0;
  expect((await room.bring(LORA)).files?.[WEIGHTS]).toEqual(weights);
  expect(ranges(hub)).toEqual(['bytes=10000-']);
  expect(await room.staged()).toEqual([]);
});

test('after a restart of the gateway it goes on too', async () => {
  const { hub, weights, sources } = await hubWithAdapter();
  const house = await houseWith(sources);
  hub.cdn.stalls = true;
  const refused = registerFrom(house, LORA).catch(() => ({ status: 0 }));
  await until(() => hub.cdn.sent > 0 && house.happenings.some(({ type }) => type === 'source'));
  await until(async () => (await stagedBytes(house, WEIGHTS)) > 0);
  const again = await house.restart();
  expect(await refused).not.toMatchObject({ status: 201 });
  hub.cdn.stalls = false;
  hub.cdn.seen.length = 0;
  expect(await registerFrom(again, LORA)).toMatchObject({ status: 201 });
  expect(ranges(hub)).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
  expect((await again.ask('my-model@5')).text).toContain(sum('sha256', weights).slice(0, 8));
});

test('what was left behind stays for a day, and goes when the gateway starts', async () => {
  const { hub, sources, onProgress } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.cdn.cuts.push(10_000, 0, 0, 0);
  await room.bring(LORA, { onProgress });
  const [left = ''] = await room.staged();
  const almost = (Date.now() - KEPT_MS + 60_000) / 1000;
  await utimes(join(room.dataDir, 'fetched', left), almost, almost);
  const young = await openRoom(sources, { dataDir: room.dataDir });
  await young.sources.close();
  expect(await room.staged()).toEqual([left]);
  const old = almost - 120;
  await utimes(join(room.dataDir, 'fetched', left), old, old);
  await openRoom(sources, { dataDir: room.dataDir });
  await until(async () => (await room.staged()).length === 0);
});

test('of what was left behind, the last few stay', async () => {
  const { sources } = await hubWithAdapter();
  const { dataDir, staged } = await openRoom(sources);
  const names = Array.from({ length: KEPT_MAX + 2 }, (_, at) => `left-${at}`);
  for (const [at, name] of names.entries()) {
    const dir = join(dataDir, 'fetched', name);
    await mkdir(dir, { recursive: true });
    const seconds = Date.now() / 1000 - 60 * at;
    await utimes(dir, seconds, seconds);
  }
  await openRoom(sources, { dataDir });
  await until(async () => (await staged()).length === KEPT_MAX);
  expect((await staged()).sort()).toEqual(names.slice(0, KEPT_MAX));
});

test('a file that was written again meanwhile is never mixed with what was fetched before', async () => {
  const s3 = await startS3();
  s3.isPublic = true;
  const [first, second] = [await adapterFiles({ hidden: 256 }), await adapterFiles({ hidden: 256, seed: 9 })];
  Object.assign(s3.objects, {
    'a/adapter_config.json': first['adapter_config.json'],
    [`a/${WEIGHTS}`]: first[WEIGHTS],
  });
  const room = await openRoom({ allow: ['s3://ckpts'], s3: { url: s3.url } });
  s3.cuts.push(10_000);
  const onProgress = ({ bytes }: Progress) => {
    if (bytes > 10_000) s3.objects[`a/${WEIGHTS}`] = second[WEIGHTS] ?? Buffer.alloc(0);
    s3.arrived(bytes - (first['adapter_config.json']?.length ?? 0));
  };
  expect(await room.bring('s3://ckpts/a', { onProgress })).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('written again'),
  });
  expect(await room.staged()).toEqual([]);
  expect((await room.bring('s3://ckpts/a')).files?.[WEIGHTS]).toEqual(second[WEIGHTS]);
});

test('a server without strong ETags is begun with anew: nothing says that the rest is the rest of the same', async () => {
  const files = await adapterFiles({ hidden: 256 });
  const web = await startHost(({ url, request, response, host }) => {
    const bytes = files[url.pathname.slice(1)];
    if (bytes === undefined) return void response.writeHead(404).end();
    send(host, request, response, { bytes, etag: 'W/"1"' });
  });
  const room = await openRoom({ allow: [`${web.url}/`] });
  // The first answer is only looked at.
  web.cuts.push(50_000, 10_000);
  const onProgress = ({ bytes }: Progress) => web.arrived(bytes - (files['adapter_config.json']?.length ?? 0));
  expect((await room.bring(web.url, { onProgress })).files?.[WEIGHTS]).toEqual(files[WEIGHTS]);
  expect(web.seen.every(({ headers }) => headers.range === undefined)).toBe(true);
});

test('a server that packs what it sends, asked or not, is believed in what it holds, not in how long it is', async () => {
  const files = await adapterFiles({ hidden: 256 });
  const web = await startHost(({ url, response }) => {
    const bytes = files[url.pathname.slice('/a/'.length)];
    if (bytes === undefined) return void response.writeHead(404).end();
    const packed = gzipSync(bytes);
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length, etag: '"1"' }).end(packed);
  });
  const room = await openRoom({ allow: [web.url] });
  expect((await room.bring(`${web.url}/a`)).files?.[WEIGHTS]).toEqual(files[WEIGHTS]);
});

test('an ETag that only came with the content is enough to go on by, and notices that it was written again', async () => {
  const mlflow = await startMlflow();
  const files = await adapterFiles({ hidden: 256 });
  const weights = files[WEIGHTS] ?? Buffer.alloc(0);
  Object.assign(mlflow.artifacts, inFolder('1/a', files));
  mlflow.versions['1'] = 'mlflow-artifacts:/1/a';
  const room = await openRoom({ allow: ['mlflow:models:'], mlflow: { url: mlflow.url } });
  const onProgress = ({ bytes }: Progress) => mlflow.arrived(bytes - (files['adapter_config.json']?.length ?? 0));
  mlflow.cuts.push(10_000, 0, 0, 0);
  expect(await room.bring('mlflow:models:/my-model/1', { onProgress })).toMatchObject({ code: 'source_failed' });
  mlflow.cuts.push(20_000);
  expect((await room.bring('mlflow:models:/my-model/1', { onProgress })).files?.[WEIGHTS]).toEqual(weights);
  expect(mlflow.sent - weights.length).toBeLessThan(4_000);
  mlflow.cuts.push(10_000, 0, 0, 0);
  await room.bring('mlflow:models:/my-model/1', { onProgress });
  const other = Buffer.from(weights).fill(7, 5_000, 5_010);
  mlflow.artifacts[`1/a/${WEIGHTS}`] = other;
  expect((await room.bring('mlflow:models:/my-model/1')).files?.[WEIGHTS]).toEqual(other);
});

test('other content than was promised is refused, and not kept', async () => {
  const { hub, weights, sources } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.damaged = Buffer.from(weights).fill(7, 5_000, 5_010);
  expect(await room.bring(LORA)).toMatchObject({
    code: 'source_failed',
    message: expect.stringMatching(/sha256 of adapter_model.safetensors is not [0-9a-f]{64}/),
  });
  expect(await room.staged()).toEqual([]);
  hub.damaged = Buffer.concat([weights, Buffer.from('more')]);
  expect(await room.bring(LORA)).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('longer than'),
  });
  hub.damaged = weights.subarray(0, 20_000);
  expect(await room.bring(LORA)).toMatchObject({ code: 'source_failed' });
});

test('s3: an object is held against the checksum that comes with it, where its ETag or its headers have one', async () => {
  const s3 = await startS3();
  s3.isPublic = true;
  const files = await adapterFiles({ hidden: 256 });
  Object.assign(s3.objects, inFolder('a', files));
  const weights = files[WEIGHTS] ?? Buffer.alloc(0);
  const damaged = Buffer.from(weights).fill(7, 5_000, 5_010);
  s3.damaged[`a/${WEIGHTS}`] = damaged;
  const room = await openRoom({ allow: ['s3://ckpts'], s3: { url: s3.url } });
  const bring = () => room.bring('s3://ckpts/a');
  expect(await bring()).toMatchObject({ code: 'source_failed', message: expect.stringContaining('the md5 of') });
  // Under a key of one's own an ETag is no MD5: only the size is left, or a checksum that was asked for when it was stored.
  const headers: Record<string, string> = { 'x-amz-server-side-encryption': 'aws:kms' };
  s3.headers[`a/${WEIGHTS}`] = headers;
  expect((await bring()).files?.[WEIGHTS]).toEqual(damaged);
  headers['x-amz-checksum-sha256'] = `${sum('sha256', weights, 'base64')}-2`;
  expect((await bring()).files?.[WEIGHTS]).toEqual(damaged);
  headers['x-amz-checksum-sha256'] = sum('sha256', weights, 'base64');
  expect(await bring()).toMatchObject({
    code: 'source_failed',
    message: expect.stringContaining('the sha256 of a/adapter_model'),
  });
});

test('a beginning of other content, left by whatever means, is found out and fetched anew', async () => {
  const { hub, weights, sources, onProgress } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.damaged = Buffer.alloc(weights.length, 1);
  hub.cdn.cuts.push(10_000, 0, 0, 0);
  await room.bring(LORA, { onProgress });
  hub.damaged = undefined;
  expect((await room.bring(LORA)).files?.[WEIGHTS]).toEqual(weights);
});

test('two who ask for the same share one fetch; it goes on while one of them waits', async () => {
  const { hub, weights, sources } = await hubWithAdapter();
  const room = await openRoom(sources);
  hub.cdn.stalls = true;
  const left = new AbortController();
  const first = room.bring(LORA, { signal: left.signal });
  let came = 0;
  const second = room.bring(LORA, {
    onProgress: ({ bytes }) => {
      came = bytes;
    },
  });
  await until(() => hub.cdn.sent > 0 && came >= hub.cdn.sent);
  left.abort(Object.assign(new Error('left'), { name: 'AbortError' }));
  await expect(first).rejects.toThrow('left');
  hub.cdn.stalls = false;
  // The stalled answer ends; the fetch goes on from there for the one who stayed.
  hub.cdn.drop();
  expect((await second).files?.[WEIGHTS]).toEqual(weights);
  expect(room.news.filter(({ phase }) => phase === 'begun')).toHaveLength(1);
  expect(hub.cdn.sent).toBe(weights.length);
});

test('two words for one content take turns in its directory', async () => {
  const { hub, weights, sources } = await hubWithAdapter();
  const room = await openRoom(sources);
  const both = await Promise.all([room.bring(`${LORA}@main`), room.bring(`${LORA}@v1.0`)]);
  for (const { files } of both) expect(files?.[WEIGHTS]).toEqual(weights);
  expect(hub.cdn.sent).toBe(2 * weights.length);
  expect(await room.staged()).toEqual([]);
});
